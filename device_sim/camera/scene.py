"""The picture: a house wall with a door, somebody walking to it, daylight by the hour, and a burnt-in clock.

Drawn as planes of YUV 4:2:0 bytes without a picture library: the background once per clip, then per frame a copy of it
with a few rectangles patched in. Rules: pure, everything from the seed and the time; sizes are even.
"""

import math
import random
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from device_sim.camera.font import GLYPH_COLUMNS, text_rows

Colour = tuple[int, int, int]

_NEUTRAL: Final = 128  # chroma of grey
_DAY_HOURS: Final = (7, 19)  # outside them the camera sees by infrared: darker, no colour
_CROSSING_S: Final = 8.0  # from one edge to the other
_STEP_HZ: Final = 1.6

_SKY: Final[Colour] = (190, 150, 112)
_WALL: Final[Colour] = (146, 112, 144)
_MORTAR: Final[Colour] = (128, 114, 142)
_GROUND: Final[Colour] = (92, 118, 122)
_DOOR: Final[Colour] = (70, 108, 160)
_KNOB: Final[Colour] = (200, 70, 140)
_LAMP: Final[Colour] = (230, 90, 140)
_SKIN: Final[Colour] = (165, 108, 152)
_TROUSERS: Final[Colour] = (48, 140, 122)
_COATS: Final[tuple[Colour, ...]] = ((80, 170, 110), (110, 90, 190), (150, 60, 140), (100, 110, 90))


@dataclass(slots=True)
class Canvas:
    """Three planes of bytes; ``strides`` are their row lengths in bytes, as the encoder's frame wants them."""

    width: int
    height: int
    strides: tuple[int, int, int]
    planes: tuple[bytearray, bytearray, bytearray] = field(init=False)

    def __post_init__(self) -> None:
        heights = (self.height, self.height // 2, self.height // 2)
        luma, blue, red = (
            bytearray([_NEUTRAL]) * (stride * rows) for stride, rows in zip(self.strides, heights, strict=True)
        )
        self.planes = (luma, blue, red)

    def copy(self) -> "Canvas":
        """The same picture, free to be drawn on."""
        twin = Canvas(self.width, self.height, self.strides)
        for mine, its in zip(self.planes, twin.planes, strict=True):
            its[:] = mine
        return twin

    def fill(self, left: float, top: float, *, width: float, height: float, colour: Colour) -> None:
        """A rectangle, cut at the picture's edges and put on even pixels, where chroma has its own."""
        x0, x1 = _even(left, self.width), _even(left + width, self.width)
        y0, y1 = _even(top, self.height), _even(top + height, self.height)
        for index, (plane, stride, value) in enumerate(zip(self.planes, self.strides, colour, strict=True)):
            half = 2 if index else 1
            start, end = x0 // half, x1 // half
            run = bytes([value]) * (end - start)
            for row in range(y0 // half, y1 // half):
                plane[row * stride + start : row * stride + end] = run

    def disc(self, centre_x: float, centre_y: float, *, radius: float, colour: Colour) -> None:
        """A filled circle, two rows at a time."""
        for offset in range(-int(radius), int(radius) + 1, 2):
            half_width = math.sqrt(max(radius * radius - offset * offset, 0.0))
            self.fill(centre_x - half_width, centre_y + offset, width=2 * half_width, height=2, colour=colour)

    def write(self, text: str, left: int, top: int, *, scale: int) -> None:
        """White letters on a black strip, cut at the right edge."""
        room = max((self.width - left) // scale - 1, 0) // GLYPH_COLUMNS
        rows = text_rows(text[:room], scale=scale)
        width, height = len(rows[0]), len(rows)
        self.fill(left, top, width=width, height=height, colour=(16, _NEUTRAL, _NEUTRAL))
        luma, stride = self.planes[0], self.strides[0]
        for index, row in enumerate(rows[: max(self.height - top, 0)]):
            at = (top + index) * stride + left
            luma[at : at + width] = row


@dataclass(frozen=True, slots=True)
class Scene:
    """What this clip shows; made once, asked for every frame."""

    background: Canvas
    label: str
    start_s: float
    coat: Colour
    from_right: bool
    night: bool
    scale: int

    def frame(self, at_s: float, clock: str) -> Canvas:
        """The picture ``at_s`` seconds into the clip with ``clock`` burnt in."""
        canvas = self.background.copy()
        self._person(canvas, self.start_s + at_s)
        canvas.write(clock, 4 * self.scale, 4 * self.scale, scale=self.scale)
        if self.label:
            canvas.write(self.label, 4 * self.scale, canvas.height - 13 * self.scale, scale=self.scale)
        return canvas

    def _person(self, canvas: Canvas, at_s: float) -> None:
        unit = canvas.height / 12
        way = (at_s % _CROSSING_S) / _CROSSING_S
        x = canvas.width * (1.1 * (1 - way if self.from_right else way) - 0.05)
        swing = math.sin(2 * math.pi * _STEP_HZ * at_s)
        feet = canvas.height * 0.92 - abs(swing) * unit * 0.15
        coat, skin, trousers = (_light(colour, night=self.night) for colour in (self.coat, _SKIN, _TROUSERS))
        for side in (-1, 1):
            canvas.fill(
                x + side * swing * unit * 0.6 - unit * 0.25,
                feet - unit * 2,
                width=unit * 0.5,
                height=unit * 2,
                colour=trousers,
            )
            canvas.fill(
                x - side * swing * unit * 0.8 - unit * 0.15,
                feet - unit * 4,
                width=unit * 0.35,
                height=unit * 1.7,
                colour=coat,
            )
        canvas.fill(x - unit * 0.6, feet - unit * 4.2, width=unit * 1.2, height=unit * 2.4, colour=coat)
        canvas.disc(x, feet - unit * 4.9, radius=unit * 0.6, colour=skin)


def scene(seed: int, start: datetime, *, size: tuple[int, int], strides: tuple[int, int, int], label: str) -> Scene:
    """The scene of this seed at this time of day."""
    dice = random.Random(f"scene/{seed}/{start.isoformat()}")
    night = not _DAY_HOURS[0] <= start.hour < _DAY_HOURS[1]
    return Scene(
        background=_house(Canvas(*size, strides), night=night),
        label=label,
        start_s=dice.uniform(0.2, _CROSSING_S / 3),
        coat=dice.choice(_COATS),
        from_right=dice.random() < 0.5,  # noqa: PLR2004 - a coin
        night=night,
        scale=max(size[1] // 180, 1),
    )


def _house(canvas: Canvas, *, night: bool) -> Canvas:
    width, height = canvas.width, canvas.height
    horizon, floor = height * 0.25, height * 0.8

    def paint(left: float, top: float, right: float, bottom: float, colour: Colour) -> None:
        shade = _light(colour, night=night)
        canvas.fill(left, top, width=right - left, height=bottom - top, colour=shade)

    for row in range(0, int(horizon) + 2, 2):
        fade = int(40 * row / horizon)
        paint(0, row, width, row + 2, (_SKY[0] + fade - 20, *_SKY[1:]))
    paint(0, horizon, width, floor, _WALL)
    brick = height / 24
    course = 0
    while horizon + course * brick < floor:
        top = horizon + course * brick
        paint(0, top, width, top + 2, _MORTAR)
        left = -brick * (course % 2)
        while left < width:
            paint(max(left, 0), top, max(left, 0) + 2, min(top + brick, floor), _MORTAR)
            left += 2 * brick
        course += 1
    paint(0, floor, width, height, _GROUND)
    paint(width * 0.58, height * 0.36, width * 0.72, floor, _DOOR)
    canvas.disc(width * 0.6, height * 0.6, radius=height * 0.015, colour=_light(_KNOB, night=night))
    canvas.disc(width * 0.65, height * 0.31, radius=height * 0.02, colour=_LAMP)
    return canvas


def _light(colour: Colour, *, night: bool) -> Colour:
    return (16 + colour[0] * 2 // 5, _NEUTRAL, _NEUTRAL) if night else colour


def _even(value: float, limit: int) -> int:
    return min(max(int(value) & ~1, 0), limit)
