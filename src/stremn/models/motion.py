"""The next frame read from observed frames: where each pixel was, and which of them shows it."""

from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from stremn.memory import Rules, SlotMemory, Template
from stremn.memory.slots import EMPTY
from stremn.models.config import MotionConfig
from stremn.models.displacement import (
    camera_motion,
    carried_on,
    compose,
    sample,
    seen_inside,
    velocity_between,
)
from stremn.models.predictor import Predictor, PredictorState, to_unit_range
from stremn.models.segmenter import to_map
from stremn.models.slot_predictor import to_tokens
from stremn.ops import space_time_read

__all__ = ["MotionPredictor"]

REST = 4
"""After so many equal frames a scene stands still, and is repeated as it is."""

UNIT = 4.0
"""Pixels a frame that count as one for the network; levels of error as well, in the other direction."""

CELLS = 16
"""The most cells along a side that keys and values have; cells are 4 pixels wide in small frames."""

TRIED = 5
"""The most frames over which it is tried out how well motion is carried on."""

FADE = 0.8
"""What a trial of the frame before counts of one of this frame."""

LEAST_ERROR = 1e-4
"""Mean squared error below which a frame is as good as equal."""

UNTRIED = 0.05
"""Trials of motion that went on as foreseen, added to those that were made."""

FINE = 2
"""Pixels from one place to the next that shares are given to; between them they are interpolated."""

ABOUT_PLACE, ABOUT_SOURCE = 10, 11
"""What is known of a pixel, and of a source of it besides."""

NEVER = -30.0
"""What takes all share from a source in the softmax, and can be interpolated."""

RARE = -6.0
"""Untrained, how the other sources weigh against the first in the softmax: next to nothing."""


class MotionPredictor(Predictor):
    """Reads every predicted frame once from observed ones; an addition to the paper.

    So it is as sharp as these are after any number of steps. Velocity is that of dense optical flow, carried
    on. Where each pixel was is followed from step to step in two ways, along with what moves and as the
    camera alone moves it, which leads back to a background that was covered for a while. Each way leads to
    the latest frame and to those of the slots; with the latest frame as it stands these are the sources. The
    network gives a share to each; untrained nearly all to the first, the latest frame along what moves.

    A slot keeps how a moment looked and moved (key), and what came next: how that looked and moved in small
    (value) and the frame itself. So it is written one frame later; predicted frames are not. Read by Eq. (5),
    the values say what comes next and how much of that each slot says, and a source is known by how far it is
    off that, and by how far it was off in the frames that were observed.

    Each of the last observed frames is carried on as well and compared with what came, one to five frames
    later. By as much as that explains of the difference from the frame as it stood, least squares, the
    latest frame is trusted to move on as many steps ahead: its odds, moved, are multiplied by it. So what
    trembles or pauses is nearly copied, and what comes again is read from slots.

    The state carries of the frame that is foreseen the ``velocity`` ``(B, 2, h, w)``, the displacement
    ``ahead`` ``(B, 2, 1 + K, 2, h, w)``, along and as the camera, to the latest and the slots' frames, what
    the sources show, ``seen`` ``(B, 3 + 2·K, C, h, w)``, and in small what else is ``known`` of each place,
    how far each source was off so far and the velocity foreseen before ``(B, 7 + 2·K, h / 2, w / 2)``; of the
    frame before it, which may be foreseen itself, the ``camera``'s motion, ``key`` and ``update_key``, and
    what was read for it, ``readout`` and ``masses``; the ``latest`` observed frame, its ``frame_index``
    ``(B,)``, how many frames lie ``since`` and how much is ``moving``; of the frames that are ``tried`` out,
    the newest first, pixels, velocity carried on, and displacement back to them ``(B, 5, C + 4, h, w)``, and
    of trials over so many frames the sums, ``trials`` ``(B, 5, 2)``.
    """

    config: MotionConfig

    def __init__(self, config: MotionConfig) -> None:
        super().__init__(config)
        width = config.width
        self.look = nn.Sequential(
            nn.Conv2d(config.channels + 4, 2 * width, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.Conv2d(2 * width, 2 * width, 3, padding=1),
            nn.ReLU(),
        )
        self.key = nn.Conv2d(2 * width, config.key_dim, 1)
        self.update_key = nn.Conv2d(2 * width, config.update_dim, 1)
        nn.init.orthogonal_(self.key.weight, 6.0)  # so that keys differ enough from the beginning
        self.nothing = nn.Parameter(torch.zeros(1, 1, config.key_dim))
        self.asked = nn.Sequential(
            nn.Conv2d(ABOUT_PLACE, width, 3, padding=1), nn.ReLU(), nn.Conv2d(width, width, 3, padding=1)
        )
        self.offered = nn.Conv2d(ABOUT_SOURCE, width, 3, padding=1, bias=False)
        self.share = nn.Sequential(
            nn.ReLU(), nn.Conv2d(width, width, 3, padding=1), nn.ReLU(), nn.Conv2d(width, 1, 1)
        )
        last = self.share[-1]
        assert isinstance(last, nn.Conv2d)
        assert last.bias is not None
        nn.init.zeros_(last.weight)
        nn.init.constant_(last.bias, RARE)

    def observe(
        self, frame: Tensor, state: PredictorState | None = None, rules: Rules | None = None
    ) -> PredictorState:
        """Measure how the frame moved, write what the frame before led to, and look ahead; see the base."""
        self._check(frame)
        rules, frame = self.rules() if rules is None else rules, frame.float()
        assert rules is not None
        first = state is None or state.memory is None
        before = self._beginning(frame, rules) if state is None else state.carried
        steps = (before["since"] + 1).view(-1, 1, 1, 1)
        velocity = velocity_between(frame, before["latest"]) / steps
        changed = (frame != before["latest"]).flatten(1).any(dim=1)
        key, update_key = self._keys(frame, velocity)
        error = F.avg_pool2d((before["seen"] - frame.unsqueeze(1)).abs().mean(dim=2), FINE)
        now = {
            "latest": frame,
            "frame_index": before["frame_index"] + before["since"] + 1,
            "since": torch.zeros_like(before["since"]),
            "moving": torch.where(changed, REST, (before["moving"] - 1).clamp_min(0)),
            "velocity": velocity,
            "camera": camera_motion(velocity),
            "ahead": before["ahead"],
            "key": key,
            "update_key": update_key,
        }
        now["tried"], now["trials"], off = _tried(before, frame, velocity)
        error = (before["known"][:, :-4] + error) / 2
        followed = to_tokens(self._pooled(torch.cat([frame, velocity / UNIT], dim=1)))
        if first:
            template = Template(key, followed, update_key, frame=to_tokens(frame))
            memory = SlotMemory.of_first_frame(template, EMPTY, rules.layout)
            memory = replace(memory, seen=torch.zeros_like(memory.seen))
        else:
            assert state is not None
            assert state.memory is not None
            template = Template(before["key"], followed, before["update_key"], frame=to_tokens(frame))
            memory = state.memory.update(
                *(template, before["frame_index"], rules.policy),
                noise=rules.noise,
                tau=rules.tau,
                generator=rules.generator,
            )
            more = 1 + memory.slots - now["ahead"].shape[2]
            now["ahead"] = F.pad(now["ahead"], (0,) * 7 + (more,))
            # What shows this frame is at no distance from it, and was off as much as the latest frame.
            here = F.pad(memory.frame_index == before["frame_index"].unsqueeze(1), (1, 0), value=True)
            now["ahead"] = now["ahead"].masked_fill(here[:, None, :, None, None, None], 0)
            now["ahead"] = self._aligned(frame, now["ahead"], memory, now["frame_index"])
            both = error[:, :-1].unflatten(1, (2, -1))
            both = torch.where(here[:, None, :, None, None], both[:, :, :1], F.pad(both, (0,) * 5 + (more,)))
            error = torch.cat([both.flatten(1, 2), error[:, -1:]], dim=1)
        now["known"] = torch.cat([error, off, _coarse(before["velocity"])], dim=1)
        return self._look_ahead(now, memory, rules)

    def follow(
        self,
        predicted: Tensor,
        state: PredictorState,
        rules: Rules | None = None,
        *,
        truth: Tensor | None = None,
        given: Tensor | None = None,
    ) -> PredictorState:
        """Go on from a predicted frame, which is looked at and never read from; see the base class."""
        now, rules = dict(state.carried), self.rules() if rules is None else rules
        assert state.memory is not None
        assert rules is not None
        predicted = predicted.detach()
        now["key"], _ = self._keys(predicted, now["velocity"])
        now["since"] = now["since"] + 1
        now["known"] = torch.cat([now["known"][:, :-2], _coarse(now["velocity"])], dim=1)
        ahead = self._look_ahead(now, state.memory, rules)
        if truth is None or given is None or not given.any():
            return ahead
        # Without gradients the memory would be written in place.
        others = self.observe(truth, state.copy(), rules).tensors()
        mixed = {
            name: torch.where(given.view(-1, *(1,) * (tensor.dim() - 1)), others[name], tensor)
            for name, tensor in ahead.tensors().items()
        }
        return PredictorState.of(mixed, state.memory.layout)

    def predict(self, state: PredictorState) -> Tensor:
        """What the sources show, by their shares; see the base class."""
        return to_unit_range((self._shares(state).unsqueeze(2) * state.carried["seen"]).sum(dim=1))

    def read_from(self, state: PredictorState) -> tuple[Tensor, Tensor]:
        """Where the next frame is read; see the base class."""
        shares = self._shares(state)
        slots = shares[:, :-1].unflatten(1, (2, -1)).sum(dim=1)[:, 1:]
        latest = 1 - slots.sum(dim=1, keepdim=True)
        return state.carried["ahead"][:, 0, 0], torch.cat([latest, slots], dim=1)

    def _beginning(self, frame: Tensor, rules: Rules) -> dict[str, Tensor]:
        """What is carried to the first frame: as if it had stood still."""
        batch, _, *size = frame.shape
        sources, zeros = 1 + rules.layout.slots, frame.new_zeros((batch, 2, *size))
        index = torch.full((batch,), -1, device=frame.device)
        return {
            "latest": frame,
            "frame_index": index,
            "since": torch.zeros_like(index),
            "moving": torch.zeros_like(index),
            "velocity": zeros,
            "ahead": frame.new_zeros((batch, 2, sources, 2, *size)),
            "seen": frame.unsqueeze(1).expand(-1, 2 * sources + 1, -1, -1, -1),
            "known": _coarse(zeros[:, :1]).repeat(1, 2 * sources + 5, 1, 1),
            "tried": _untried(frame).expand(-1, TRIED, -1, -1, -1),
            "trials": frame.new_zeros((batch, TRIED, 2)),
        }

    def _aligned(self, frame: Tensor, ways: Tensor, memory: SlotMemory, index: Tensor) -> Tensor:
        """Measure anew where one slot's frame lies, the slots in turn; ways ``(B, 2, 1 + K, 2, h, w)``.

        What is added up from step to step drifts. A correction is taken where the slot's frame then shows
        what is seen better than before, along what moves for each place, as the camera for the whole frame.
        """
        assert memory.frame is not None
        batch, slot = torch.arange(len(frame), device=frame.device), index % memory.slots
        kept = memory.frame[batch, slot].detach().mT.unflatten(2, frame.shape[-2:])
        old = ways[batch, :, 1 + slot]
        new = []
        for way, camera in zip(old.unbind(1), (False, True), strict=True):
            shown = sample(kept, way)
            residual = velocity_between(frame, shown)
            if camera:
                residual = camera_motion(residual)
            better = compose(residual, way.unsqueeze(1))[:, 0]
            both = torch.stack([shown, sample(kept, better)], dim=1)
            off = (both - frame.unsqueeze(1)).abs().mean(dim=2)
            inside = seen_inside(way)
            off = (inside * off).mean(dim=(2, 3), keepdim=True) if camera else F.avg_pool2d(off, 9, 1, 4)
            new.append(torch.where(off[:, 1:] < off[:, :1], better, way))
        ways = ways.clone()
        ways[batch, :, 1 + slot] = torch.stack(new, dim=1)
        return ways

    def _pooled(self, maps: Tensor, factor: int = 1) -> Tensor:
        """Means over the cells of the memory, or over parts of these by a factor."""
        side = max(4, -(-max(maps.shape[-2:]) // CELLS))
        height, width = (factor * -(-n // side) for n in maps.shape[-2:])
        return F.adaptive_avg_pool2d(maps, (height, width))

    def _keys(self, image: Tensor, velocity: Tensor) -> tuple[Tensor, Tensor]:
        """Key and update key of how a moment looks, moves, and where, ``(B, N, Dk)`` and ``(B, N, Du)``."""
        rows, columns = (torch.linspace(-1, 1, n, device=image.device) for n in image.shape[-2:])
        y, x = torch.meshgrid(rows, columns, indexing="ij")
        place = torch.stack([x, y]).expand(len(image), -1, -1, -1)
        x = self.look(self._pooled(torch.cat([2 * image - 1, velocity / UNIT, place], dim=1), 2))
        return to_tokens(self.key(x)), to_tokens(self.update_key(x))

    def _look_ahead(self, now: dict[str, Tensor], memory: SlotMemory, rules: Rules) -> PredictorState:
        """Go on by one frame: where the sources lead then, what they show, and what is read for it."""
        velocity = carried_on(now["velocity"])
        ways = zip((velocity, now["camera"]), now["ahead"].unbind(1), strict=True)
        ahead = torch.stack([compose(v, d) for v, d in ways], dim=1)
        slots, size = memory.frame, velocity.shape[-2:]
        assert slots is not None
        frames = torch.cat([now["latest"].unsqueeze(1), slots.detach().mT.unflatten(3, size)], dim=1)
        shown = [sample(frames.flatten(0, 1), way.flatten(0, 1)).view_as(frames) for way in ahead.unbind(1)]
        seen = torch.cat([*shown, frames[:, :1]], dim=1)
        readout, masses = self._read(now["key"], memory)
        if not rules.readout:
            readout, masses = torch.zeros_like(readout), torch.zeros_like(masses)
        now = now | {
            "velocity": velocity,
            "ahead": ahead,
            "seen": seen,
            "known": sample(now["known"], _coarse(velocity) / FINE),
            "readout": readout,
            "masses": masses,
        }
        return PredictorState(now, memory)

    def _read(self, key: Tensor, memory: SlotMemory) -> tuple[Tensor, Tensor]:
        """Eq. (5) with an entry for what is like nothing in memory, whose value is zero.

        Returns:
            What followed where it was alike ``(B, N, C + 2)``, and how much of that was read from each slot
            ``(B, N, K)``.
        """
        positions = memory.key.shape[2]
        slots = torch.eye(memory.slots, device=key.device, dtype=memory.value.dtype)
        slots = slots.repeat_interleave(positions, dim=0).expand(len(key), -1, -1)
        nothing = self.nothing.expand(len(key), -1, -1).to(memory.key.dtype)
        read = space_time_read(
            key,
            torch.cat([nothing, memory.key.flatten(1, 2)], dim=1),
            F.pad(torch.cat([memory.value.flatten(1, 2), slots], dim=2), (0, 0, 1, 0)),
            similarity="l2",
            occupied=F.pad(memory.occupied.repeat_interleave(positions, dim=1), (1, 0), value=True),
        ).float()
        return read[..., : -memory.slots], read[..., -memory.slots :]

    def _shares(self, state: PredictorState) -> Tensor:
        """The share of each source ``(B, 3 + 2·K, h, w)``, those along, as the camera, and as it stands."""
        now, memory = state.carried, state.memory
        assert memory is not None
        inside = seen_inside(now["ahead"].flatten(0, 2), every=FINE)
        inside = F.pad(inside.unflatten(0, (len(now["seen"]), -1))[:, :, 0], (0,) * 5 + (1,), value=1)
        place, each = self._known(now, inside)
        x = self.asked(place).unsqueeze(1) + self.offered(each.flatten(0, 1)).unflatten(0, each.shape[:2])
        x = self.share(x.flatten(0, 1)).float().view(each[:, :, 0].shape)
        exists = memory.occupied & (now["masses"].sum(dim=1) > 0)
        exists = F.pad(F.pad(exists, (1, 0), value=True).repeat(1, 2)[:, 1:], (0, 1), value=True)
        exists = exists & (now["moving"] > 0).unsqueeze(1)
        x = x.masked_fill(~(exists[:, :, None, None] & (inside[:, 1:] > 0)), NEVER)
        x = F.interpolate(x, scale_factor=FINE, mode="bilinear")
        x = F.pad(x, (0,) * 4 + (1, 0))
        # What the latest frame, moved, is not trusted for, the other sources share as they would without it.
        x[:, : x.shape[1] - 1 : x.shape[1] // 2] += _trust(now).log().clamp_min(NEVER).view(-1, 1, 1, 1)
        return x.softmax(dim=1)

    def _known(self, now: dict[str, Tensor], inside: Tensor) -> tuple[Tensor, Tensor]:
        """What is known at half the size of each pixel, and of each source after the first besides.

        Returns:
            ``(B, ABOUT_PLACE, h / 2, w / 2)`` and ``(B, S - 1, ABOUT_SOURCE, h / 2, w / 2)``.
        """
        seen, count = now["seen"], 1 + now["masses"].shape[2]
        cells = self._pooled(seen.flatten(0, 1)).unflatten(0, seen.shape[:2])
        grid = (cells.shape[3], cells.shape[4])
        readout, masses = to_map(now["readout"], grid), to_map(now["masses"], grid)
        known = masses.sum(dim=1, keepdim=True)
        colours, motion = readout[:, :-2], readout[:, -2:]
        velocity = _coarse(now["velocity"]) / UNIT

        def fine(maps: Tensor) -> Tensor:
            return F.interpolate(maps, size=inside.shape[-2:], mode="bilinear", align_corners=False)

        age = (now["since"] / (now["since"] + 5)).view(-1, 1, 1, 1)
        change = _length(velocity - now["known"][:, -2:] / UNIT)
        other = _length(motion - known * F.adaptive_avg_pool2d(velocity, grid))
        error, tried = (UNIT * now["known"][:, :-2]).tensor_split([-2], dim=1)
        place = [age.expand_as(change), error[:, :1], _length(velocity), change, fine(known), fine(other)]
        wide = fine(F.adaptive_avg_pool2d(tried, grid))
        place += [tried, _than(wide[:, 1:], wide[:, :1]), wide[:, 1:]]

        off = UNIT * _coarse((seen - seen[:, :1]).abs().mean(dim=2))
        unlike = UNIT * (known.unsqueeze(1) * cells - colours.unsqueeze(1)).abs().mean(dim=2)
        index = torch.arange(seen.shape[1], device=seen.device)
        said = [p.float().view(1, -1, 1, 1).expand_as(off) for p in (index // count == 1, index % count == 0)]
        masses = F.pad(masses, (0,) * 4 + (1, 0)).repeat(1, 2, 1, 1)
        masses = F.pad(masses, (0,) * 5 + (1,))
        wide = fine(F.adaptive_avg_pool2d(error, grid))
        each = [off, inside, inside[:, :1].expand_as(off), *said, fine(masses), error, wide]
        each += [_than(wide, wide[:, :1]), fine(unlike), fine(_than(unlike, unlike[:, :1]))]
        # Channels last: convolutions of so few channels take half the time.
        return torch.cat(place, dim=1), torch.stack(each, dim=4)[:, 1:].permute(0, 1, 4, 2, 3)


def _tried(before: dict[str, Tensor], frame: Tensor, velocity: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Compare the frames that are tried out with this one, and try it out as well.

    Returns:
        ``tried``, ``trials``, and how far the frame of three frames ago is off, carried on and as it stood.
    """
    frames, moved, way = before["tried"].flatten(0, 1).split([frame.shape[1], 2, 2], dim=1)
    moved = carried_on(moved)
    way = compose(moved, way.unsqueeze(1))[:, 0]
    gain = (sample(frames, way) - frames).unflatten(0, (-1, TRIED))
    short = frame.unsqueeze(1) - frames.unflatten(0, (-1, TRIED))
    products = torch.stack([(short * gain).mean(dim=(2, 3, 4)), (gain**2).mean(dim=(2, 3, 4))], dim=2)
    products = products / ((short**2).mean(dim=(2, 3, 4)) + LEAST_ERROR).unsqueeze(2)
    # Where frames that were not observed lie between, trials end.
    on = (before["since"] == 0).view(-1, 1, 1)
    older = torch.cat([frames, moved, way], dim=1).unflatten(0, (-1, TRIED))[:, :-1]
    older = torch.where(on[..., None, None], older, _untried(frame))
    newest = torch.cat([frame, velocity, torch.zeros_like(velocity)], dim=1).unsqueeze(1)
    off = torch.stack([(short - gain)[:, 2], short[:, 2]], dim=1).abs().mean(dim=2)
    return torch.cat([newest, older], dim=1), FADE * before["trials"] + on * products, _coarse(off)


def _untried(frame: Tensor) -> Tensor:
    """A frame that stays as it stands ``(B, 1, C + 4, h, w)``."""
    return F.pad(frame, (0,) * 5 + (4,)).unsqueeze(1)


def _trust(now: dict[str, Tensor]) -> Tensor:
    """How far motion is trusted to go on to the frame that is foreseen ``(B,)``, 0 to 1.

    What failed over fewer frames is not trusted over more.
    """
    explained, moved = (now["trials"] + UNTRIED).unbind(dim=2)
    trust = (explained / moved).clamp(0, 1).cummin(dim=1).values
    return trust.gather(1, now["since"].clamp_max(TRIED - 1).unsqueeze(1))[:, 0]


def _coarse(maps: Tensor) -> Tensor:
    return F.avg_pool2d(maps, FINE)


def _than(one: Tensor, other: Tensor) -> Tensor:
    """How much larger one error is than another, -1 to 1, whatever their size."""
    return (one - other) / (one + other + 0.01 * UNIT)


def _length(vectors: Tensor) -> Tensor:
    """``(B, 2, h, w)`` to ``(B, 1, h, w)``; at zero its gradient is zero, unlike that of ``hypot``."""
    return ((vectors**2).sum(dim=1, keepdim=True) + 1e-12).sqrt()
