# ruff: noqa
"""Changes tried for look-alikes without training: OUT.json MODEL SIZE NAME,NAME EXPRESSION FOLDER…"""

import sys, copy, types, json, time
from pathlib import Path
import cv2, numpy as np, torch

cv2.setNumThreads(1)
torch.set_num_threads(1)
from stremn import SegmentationSession, from_pretrained
from stremn.data import play, new_objects, read_videos
from stremn.metrics import SequenceScorer
from stremn.memory import read_separately, read_target
from stremn.models import lite
from stremn.models.segmenter import of_objects, others_of, Segmenter
from stremn.ops import target_moments


def near(lam, cap, rel=True):
    def patch(model):
        own = model.segment

        def segment(self, features, state, *, guide=True):
            logits = own(features, state, guide=guide)
            mine = (state.previous[:, 0] > 0.5).cpu().numpy()
            if len(mine) < 2:
                return logits
            h = mine.shape[1]
            d = np.stack(
                [
                    cv2.distanceTransform(1 - m.astype(np.uint8), cv2.DIST_L2, 3) / h
                    if m.any()
                    else np.full(m.shape, np.nan, np.float32)
                    for m in mine
                ]
            )
            out = np.zeros_like(d)
            for o in range(len(d)):
                if np.isnan(d[o]).all():
                    continue
                rest = np.delete(d, o, 0)
                rest = rest[~np.isnan(rest).all(axis=(1, 2))]
                if not len(rest):
                    continue
                out[o] = np.minimum(cap, lam * np.maximum(0, d[o] - rest.min(axis=0)))
            return logits - torch.from_numpy(out).unsqueeze(1).to(logits)

        model.segment = types.MethodType(segment, model)

    return patch


def conserve(lam, cap, g, c):
    """Last places of lost objects count, and an object that has less than it used to gets a bounded bonus among objects."""

    def patch(model):
        own = model.segment
        model._last, model._ref = {}, None

        def segment(self, features, state, *, guide=True):
            logits = own(features, state, guide=guide)
            O = len(logits)
            if O < 2:
                return logits
            prev = state.previous[:, 0].float()
            mine = (prev > 0.5).numpy()
            h = mine.shape[1]
            for o in range(O):
                if mine[o].any():
                    self._last[o] = cv2.distanceTransform(1 - mine[o].astype(np.uint8), cv2.DIST_L2, 3) / h
            d = np.stack([self._last.get(o, np.zeros(mine.shape[1:], np.float32)) for o in range(O)])
            for o in range(O):
                rest = np.delete(d, o, 0).min(axis=0)
                pen = np.minimum(cap, lam * np.maximum(0, d[o] - rest))
                logits[o, 0] -= torch.from_numpy(pen).to(logits)
            area = prev.flatten(1).sum(1)
            if self._ref is None:
                self._ref = area.clone()
            vis = torch.from_numpy(mine.reshape(O, -1).any(1))
            big = area > 0.7 * self._ref
            self._ref = torch.where(vis & big, 0.8 * self._ref + 0.2 * area, self._ref)
            if g:
                now = self.aggregate(logits).flatten(1).sum(1)
                b = (g * (self._ref / now.clamp(min=1)).log()).clamp(-c, c)
                union = (logits.max(dim=0, keepdim=True).values > 0).to(logits)
                logits = logits + b.view(-1, 1, 1, 1).to(logits) * union
            return logits

        model.segment = types.MethodType(segment, model)

    return patch


def suppress(alpha):
    def patch(model):
        own = model.segment

        def segment(self, features, state, *, guide=True):
            logits = own(features, state, guide=guide)
            if len(logits) < 2:
                return logits
            top, where = logits.topk(2, dim=0)
            at = torch.arange(len(logits)).view(-1, 1, 1, 1)
            other = torch.where(at == where[:1], top[1:2], top[:1])
            return logits - alpha * other.relu()

        model.segment = types.MethodType(segment, model)

    return patch


def local(A, slots=(1,)):
    def patch(model):
        def read(self, features, memory):
            query = of_objects(features.key, memory.objects)
            H, W = features.grid
            L = max(H, W)
            y, x = torch.meshgrid(torch.arange(H), torch.arange(W), indexing="ij")
            p = (
                torch.stack([f(np.pi / L * v) for v in (x, y) for f in (torch.cos, torch.sin)], -1)
                .reshape(1, H * W, 4)
                .to(query)
            )
            s = 1 / np.sqrt(query.shape[-1])
            a = (A / (2 * s)) ** 0.5
            key = memory.key
            extra = torch.zeros(*key.shape[:3], 4, dtype=key.dtype)
            for k in slots:
                if k < key.shape[1]:
                    extra[:, k] = (a * p).to(key)
            from dataclasses import replace

            wide = replace(memory, key=torch.cat([key, extra], -1))
            q = torch.cat([query, (a * p).expand(len(query), -1, -1)], -1)
            readout = read_separately(wide, q, similarity=self.config.similarity, scale=s)
            target = read_target(memory, of_objects(self._target_features(features), memory.objects))
            return torch.cat([readout, target.to(readout.dtype)], dim=-1)

        model.read = types.MethodType(read, model)

    return patch


def against(share):
    """Target models: the others' positions weigh `share` of what the object and the rest weigh."""

    def patch(model):
        def _moments(self, features, masks, value):
            masks = self.resize(masks, features.grid)
            mask, others = (m.flatten(1) for m in (masks, others_of(masks, features.frames)))
            targets = torch.cat([value.float(), torch.stack([mask, others], dim=-1)], dim=-1)
            rest = (1 - mask - others).clamp(0, 1)

            def w(m):
                return m / m.mean(1, keepdim=True).clamp(min=1e-3)

            has = (others.mean(1, keepdim=True) > 1e-3).float() * share
            weights = (w(mask) + has * w(others) + (1 - has) * w((1 - mask) * (1 - has) + rest * has)) / 2
            return target_moments(of_objects(self._target_features(features), len(masks)), targets, weights)

        model._moments = types.MethodType(_moments, model)

    return patch


def evidence(beta, which=1):
    """Add what the target models say of who is who to the logits of objects, by differences, bounded."""

    def patch(model):
        own = model.segment

        def segment(self, features, state, *, guide=True):
            logits = own(features, state, guide=guide)
            if len(logits) < 2:
                return logits
            t = read_target(state.memory, of_objects(self._target_features(features), len(logits))).unflatten(
                -1, (2, -1)
            )
            m = t[:, :, which, -2].unflatten(1, features.grid).unsqueeze(1)
            top, where = m.topk(2, dim=0)
            at = torch.arange(len(m)).view(-1, 1, 1, 1)
            other = torch.where(at == where[:1], top[1:2], top[:1])
            e = beta * (m - other).clamp(-1, 0)
            return logits + torch.nn.functional.interpolate(e, size=logits.shape[-2:], mode="bilinear").to(
                logits
            )

        model.segment = types.MethodType(segment, model)

    return patch


def both(*ps):
    def patch(model):
        for p in ps:
            p(model)

    return patch


VARIANTS = {
    "as it is": lambda m: None,
    "near 40/4": near(40, 4),
    "near 20/2": near(20, 2),
    "near 80/8": near(80, 8),
    "suppress .5": suppress(0.5),
    "local 4": local(4),
    "local 12": local(12),
    "against .5": against(0.5),
    "evidence 4 all": evidence(4, 1),
    "evidence 4 first": evidence(4, 0),
    "near+local": both(near(40, 4), local(12)),
    "postprocess": None,
    "certainty 0.9": None,
    "certainty 0.95": None,
    "suppress 1": suppress(1.0),
    "last 40/4": conserve(40, 4, 0, 0),
    "mass": conserve(0, 0, 1.5, 4),
    "last+mass": conserve(40, 4, 1.5, 4),
    "last+mass small": conserve(20, 2, 1, 2),
}


def main(out, model, size, names, roots, take):
    model = from_pretrained(model)
    base = SegmentationSession(model, size=size)
    model = base.model
    out = Path(out)
    res = json.loads(out.read_text()) if out.exists() else {}
    for root in roots:
        for video in read_videos(root):
            todo = [n for n in names if f"{n}|{video.name}" not in res]
            if not todo or (take and not eval(take)(video.name)):
                continue
            sessions = {}
            for n in todo:
                s = SegmentationSession(
                    model,
                    size=size,
                    postprocess=n == "postprocess",
                    **({"certainty": float(n.split()[1])} if n.startswith("certainty") else {}),
                )
                if VARIANTS[n]:
                    s.model = copy.copy(model)
                    VARIANTS[n](s.model)
                sessions[n] = (s, SequenceScorer(video.name))
            for frame in play(video, 0):
                f = None
                for n, (s, sc) in sessions.items():
                    f = s.encode(frame.image) if f is None else f
                    r = s.step(frame.image, new_objects(frame.truth, s.object_ids), features=f)
                    sc.update(r.labels, frame.truth)
            for n, (s, sc) in sessions.items():
                res[f"{n}|{video.name}"] = [round(100 * x.j_and_f, 2) for x in sc.result()]
            out.write_text(json.dumps(res))
            print(
                video.name, {n: round(float(np.mean(res[f"{n}|{video.name}"])), 1) for n in todo}, flush=True
            )


if __name__ == "__main__":
    o, m, s, names, take, *roots = sys.argv[1:]
    main(o, m, int(s), names.split(","), roots, take)
