"""The next frame read from observed frames: where each pixel was, and which of them shows it."""

from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from stremn.memory import Rules, SlotMemory, Template
from stremn.memory.slots import EMPTY
from stremn.models.config import MotionConfig
from stremn.models.displacement import (
    affine_field,
    camera_motion,
    carried_on,
    compose,
    compose_affine,
    pixel_grid,
    sample,
    seen_inside,
    velocity_between,
)
from stremn.models.layers import to_map, to_tokens
from stremn.models.pace import AHEAD, SPEEDS, UNKNOWN, followed_by, measured, paces_of
from stremn.models.predictor import Predictor, PredictorState, to_unit_range
from stremn.ops import space_time_read

__all__ = ["MotionPredictor"]

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

FINE = 4
"""Pixels from one place to the next that shares are given to; between them they are interpolated."""

ABOUT_PLACE, ABOUT_SOURCE = 10, 11
"""What is known of a pixel, and of a source of it besides."""

NEVER = -30.0
"""What takes all share from a source in the softmax, and can be interpolated."""

SHARPER = 2.0
"""Power to which the odds of the sources are raised when not training: mixed by the shares that were learned,
frames have the least squared error, and are blurred."""

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

    Of frames that repeat the one before, as after a change of the frame rate, motion is that between those
    that do not, and goes on at their pace; a frame that is foreseen as a repeat is the one before.

    The state carries of the frame that is foreseen the ``velocity`` ``(B, 2, h, w)``, the displacement along
    what moves, ``ahead`` ``(B, 1 + K, 2, h, w)``, and as the camera, ``views_ahead`` ``(B, 1 + K, 2, 3)``, to
    the latest and the slots' frames, what the sources show, ``seen`` ``(B, 3 + 2·K, C, h, w)``, and in small
    where they are ``inside`` of their frames and what else is ``known`` of each place, how far each source
    was off so far and the velocity foreseen before ``(B, 7 + 2·K, h / 4, w / 4)``; of the frame before it,
    which may be foreseen itself, ``ways`` and ``views`` like these, the ``camera``'s motion, ``key`` and
    ``update_key``, and what was read for it, ``readout`` and ``masses``; the ``latest`` observed frame, its
    ``frame_index`` ``(B,)``, its ``flow``, and how many frames lie ``since``; the ``speeds`` of the last
    frames, what is ``usual`` for them, the ``paces`` of those to come and that of the next; of the frames
    that are ``tried`` out, the newest first, pixels, velocity carried on, and displacement back to them
    ``(B, 5, C + 4, h, w)``, and of trials over so many frames the sums, ``trials`` ``(B, 5, 2)``.
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
        step = velocity_between(frame, before["latest"]) / steps
        change = (frame - before["latest"]).abs().mean(dim=(1, 2, 3))
        speed, usual = measured(step.norm(dim=1).mean(dim=(1, 2)), change, before["usual"])
        again = (speed == 0).view(-1, 1, 1, 1)
        velocity = torch.where(again, before["flow"], step)
        step = step.masked_fill(again, 0)
        speed = speed.masked_fill(before["frame_index"] < 0, UNKNOWN)
        key, update_key = self._keys(frame, velocity)
        error = F.avg_pool2d((before["seen"] - frame.unsqueeze(1)).abs().mean(dim=2), FINE)
        now = {
            "latest": frame,
            "frame_index": before["frame_index"] + before["since"] + 1,
            "since": torch.zeros_like(before["since"]),
            "usual": usual,
            "speeds": followed_by(speed, before["speeds"]),
            "flow": velocity,
            "velocity": velocity,
            "camera": camera_motion(velocity),
            "key": key,
            "update_key": update_key,
        }
        now["paces"] = paces_of(now["speeds"])
        now["ways"] = compose(step, before["ways"])
        now["views"] = compose_affine(now["camera"].masked_fill(again[:, 0], 0), before["views"])
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
            more = 1 + memory.slots - now["ways"].shape[1]
            # What shows this frame is at no distance from it, and was off as much as the latest frame.
            here = F.pad(memory.frame_index == before["frame_index"].unsqueeze(1), (1, 0), value=True)
            ways = F.pad(now["ways"], (0,) * 7 + (more,)).masked_fill(here[:, :, None, None, None], 0)
            views = F.pad(now["views"], (0,) * 5 + (more,)).masked_fill(here[:, :, None, None], 0)
            now["ways"], now["views"] = self._aligned(frame, ways, views, memory, now["frame_index"])
            both = error[:, :-1].unflatten(1, (2, -1))
            both = torch.where(here[:, None, :, None, None], both[:, :, :1], F.pad(both, (0,) * 5 + (more,)))
            error = torch.cat([both.flatten(1, 2), error[:, -1:]], dim=1)
        now["known"] = torch.cat([error, off, _coarse(before["velocity"])], dim=1)
        return self._look_ahead(now, frame, memory, rules)

    def follow(
        self,
        predicted: Tensor,
        state: PredictorState,
        rules: Rules | None = None,
    ) -> PredictorState:
        """Go on from a predicted frame, which is looked at and never read from; see the base class."""
        now, rules = dict(state.carried), self.rules() if rules is None else rules
        assert state.memory is not None
        assert rules is not None
        predicted = predicted.detach()
        now["key"], _ = self._keys(predicted, now["velocity"])
        now["since"], now["ways"], now["views"] = now["since"] + 1, now["ahead"], now["views_ahead"]
        now["known"] = torch.cat([now["known"][:, :-2], _coarse(now["velocity"])], dim=1)
        return self._look_ahead(now, predicted, state.memory, rules)

    def predict(self, state: PredictorState) -> Tensor:
        """What the sources show, by their shares; see the base class."""
        return to_unit_range((self._shares(state).unsqueeze(2) * state.carried["seen"]).sum(dim=1))

    def read_from(self, state: PredictorState) -> tuple[Tensor, Tensor]:
        """Where the next frame is read; see the base class."""
        shares = self._shares(state)
        slots = shares[:, :-1].unflatten(1, (2, -1)).sum(dim=1)[:, 1:]
        latest = 1 - slots.sum(dim=1, keepdim=True)
        return state.carried["ahead"][:, 0], torch.cat([latest, slots], dim=1)

    def _beginning(self, frame: Tensor, rules: Rules) -> dict[str, Tensor]:
        """What is carried to the first frame: as if it had stood still."""
        batch, _, *size = frame.shape
        sources, zeros = 1 + rules.layout.slots, frame.new_zeros((batch, 2, *size))
        index = torch.full((batch,), -1, device=frame.device)
        return {
            "latest": frame,
            "frame_index": index,
            "since": torch.zeros_like(index),
            "usual": frame.new_zeros((batch, 2)),
            "speeds": frame.new_full((batch, SPEEDS), UNKNOWN),
            "pace": frame.new_ones(batch),
            "flow": zeros,
            "velocity": zeros,
            "ways": frame.new_zeros((batch, sources, 2, *size)),
            "views": frame.new_zeros((batch, sources, 2, 3)),
            "seen": frame.unsqueeze(1).expand(-1, 2 * sources + 1, -1, -1, -1),
            "known": _coarse(zeros[:, :1]).repeat(1, 2 * sources + 5, 1, 1),
            "tried": _untried(frame).expand(-1, TRIED, -1, -1, -1),
            "trials": frame.new_zeros((batch, TRIED, 2)),
        }

    def _aligned(
        self, frame: Tensor, ways: Tensor, views: Tensor, memory: SlotMemory, index: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Measure anew where one slot's frame lies, the slots in turn.

        What is added up from step to step drifts. A correction is taken where the slot's frame then shows
        what is seen better than before, along what moves for each place, as the camera for the whole frame.
        """
        assert memory.frame is not None
        batch, size = torch.arange(len(frame), device=frame.device), frame.shape[-2:]
        slot = 1 + index % memory.slots
        kept = memory.frame[batch, slot - 1].detach().mT.unflatten(2, size)

        def off(shown: Tensor) -> Tensor:
            return (shown - frame).abs().mean(dim=1, keepdim=True)

        way, view = ways[batch, slot], views[batch, slot]
        shown = sample(kept, way)
        better = compose(velocity_between(frame, shown), way.unsqueeze(1))[:, 0]
        gain = F.avg_pool2d(off(sample(kept, better)) - off(shown), 9, 1, 4)
        ways = ways.index_put((batch, slot), torch.where(gain < 0, better, way))

        way = affine_field(view, size)
        shown = sample(kept, way)
        better = compose_affine(camera_motion(velocity_between(frame, shown)), view.unsqueeze(1))[:, 0]
        gain = seen_inside(way) * (off(sample(kept, affine_field(better, size))) - off(shown))
        view = torch.where(gain.mean(dim=(1, 2, 3)).view(-1, 1, 1) < 0, better, view)
        return ways, views.index_put((batch, slot), view)

    def _pooled(self, maps: Tensor, factor: int = 1) -> Tensor:
        """Means over the cells of the memory, or over parts of these by a factor."""
        side = max(4, -(-max(maps.shape[-2:]) // CELLS))
        height, width = (factor * -(-n // side) for n in maps.shape[-2:])
        return F.adaptive_avg_pool2d(maps, (height, width))

    def _keys(self, image: Tensor, velocity: Tensor) -> tuple[Tensor, Tensor]:
        """Key and update key of how a moment looks, moves, and where, ``(B, N, Dk)`` and ``(B, N, Du)``."""
        size = image.shape[-2:]
        place = self._pooled(pixel_grid(size, image.device).unsqueeze(0), 2)
        place = 2 / (place.new_tensor(size[::-1]) - 1).view(2, 1, 1) * place - 1
        x = self._pooled(torch.cat([2 * image - 1, velocity / UNIT], dim=1), 2)
        x = self.look(torch.cat([x, place.expand(len(x), -1, -1, -1)], dim=1))
        return to_tokens(self.key(x)), to_tokens(self.update_key(x))

    def _look_ahead(
        self, now: dict[str, Tensor], shown: Tensor, memory: SlotMemory, rules: Rules
    ) -> PredictorState:
        """Go on by one frame: where the sources lead then, what they show, and what is read for it."""
        pace = now["paces"].gather(1, now["since"].unsqueeze(1) % AHEAD)[:, 0]
        wide = pace.view(-1, 1, 1, 1)
        velocity = carried_on(now["velocity"], wide)
        ahead = compose(wide * velocity, now["ways"])
        views = compose_affine(wide[:, 0] * now["camera"], now["views"])
        slots, size = memory.frame, velocity.shape[-2:]
        assert slots is not None
        frames = torch.cat([now["latest"].unsqueeze(1), slots.detach().mT.unflatten(3, size)], dim=1)
        places = [way.flatten(0, 1) for way in (ahead, affine_field(views, size))]
        shows = [sample(frames.flatten(0, 1), way).view_as(frames) for way in places]
        seen = torch.cat([*shows, frames[:, :1]], dim=1)
        if not pace.all():
            seen = torch.where(wide.unsqueeze(1) == 0, shown.unsqueeze(1), seen)
        coarse = _coarse(velocity)
        inside = [seen_inside(way, every=FINE).view(len(pace), -1, *coarse.shape[2:]) for way in places]
        readout, masses = self._read(now["key"], memory)
        if not rules.readout:
            readout, masses = torch.zeros_like(readout), torch.zeros_like(masses)
        now = now | {
            "pace": pace,
            "velocity": velocity,
            "ahead": ahead,
            "views_ahead": views,
            "seen": seen,
            "inside": F.pad(torch.cat(inside, dim=1), (0,) * 5 + (1,), value=1),
            "known": sample(now["known"], wide * coarse / FINE),
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
        place, each = self._known(now)
        x = self.asked(place).unsqueeze(1) + self.offered(each.flatten(0, 1)).unflatten(0, each.shape[:2])
        x = self.share(x.flatten(0, 1)).float().view(each[:, :, 0].shape)
        exists = memory.occupied & (now["masses"].sum(dim=1) > 0)
        exists = F.pad(F.pad(exists, (1, 0), value=True).repeat(1, 2)[:, 1:], (0, 1), value=True)
        x = x.masked_fill(~(exists[:, :, None, None] & (now["inside"][:, 1:] > 0)), NEVER)
        x = F.pad(x, (0,) * 4 + (1, 0))
        # What the latest frame, moved, is not trusted for, the other sources share as they would without it.
        # Trained with it, these would learn to leave all to it.
        if not self.training:
            x[:, : x.shape[1] - 1 : x.shape[1] // 2] += _trust(now).log().clamp_min(NEVER).view(-1, 1, 1, 1)
            x *= SHARPER
        return F.interpolate(x, scale_factor=FINE, mode="bilinear").softmax(dim=1)

    def _known(self, now: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """What is known at a quarter of the size of each pixel, and of each source after the first besides.

        Returns:
            ``(B, ABOUT_PLACE, h / 4, w / 4)`` and ``(B, S - 1, ABOUT_SOURCE, h / 4, w / 4)``.
        """
        seen, inside, count = now["seen"], now["inside"], 1 + now["masses"].shape[2]
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

        red, *others = (seen - seen[:, :1]).abs_().unbind(2)
        off = UNIT / seen.shape[2] * _coarse(sum(others, red))
        unlike = UNIT * (known.unsqueeze(1) * cells - colours.unsqueeze(1)).abs().mean(dim=2)
        index = torch.arange(seen.shape[1], device=seen.device)
        said = [p.float().view(1, -1, 1, 1).expand_as(off) for p in (index // count == 1, index % count == 0)]
        masses = F.pad(F.pad(masses, (0,) * 4 + (1, 0)).repeat(1, 2, 1, 1), (0,) * 5 + (1,))
        wide = F.adaptive_avg_pool2d(error, grid)
        about = torch.cat([masses, wide, unlike, _than(unlike, unlike[:, :1])], dim=1)
        masses, wide, *unlike = fine(about).chunk(4, dim=1)
        each = [off, inside, inside[:, :1].expand_as(off), *said, masses, error, wide]
        each += [_than(wide, wide[:, :1]), *unlike]
        # Channels last: convolutions of so few channels take half the time.
        return torch.cat(place, dim=1), torch.stack(each, dim=4)[:, 1:].permute(0, 1, 4, 2, 3)


def _tried(before: dict[str, Tensor], frame: Tensor, velocity: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Compare the frames that are tried out with this one, and try it out as well.

    Returns:
        ``tried``, ``trials``, and how far the frame of three frames ago is off, carried on and as it stood.
    """
    frames, moved, way = before["tried"].flatten(0, 1).split([frame.shape[1], 2, 2], dim=1)
    pace = before["pace"].repeat_interleave(TRIED).view(-1, 1, 1, 1)
    moved = carried_on(moved, pace)
    way = compose(pace * moved, way.unsqueeze(1))[:, 0]
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
