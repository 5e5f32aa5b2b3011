"""The fourteen steps in order, each timed; the first claim that does not hold ends the story."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from textwrap import wrap
from typing import Final

from device_sim.cloud import clock
from device_sim.demo import asking, crossing, finding, forgetting, opening, proving, report
from device_sim.demo.found import Found, Told
from device_sim.demo.screen import Screen
from device_sim.demo.stage import Child, DemoError, Stage

TITLES: Final = (
    "Keys for everybody",
    "Found, and proved before believed",
    "A camera writes",
    "Sealed before it is stored",
    "An upload, killed past 60 %",
    "Storage receipts",
    "What the cloud can see",
    "Opened with stock tools",
    "Retention",
    "A delete, killed half-way",
    "The thief",
    "What an owner may ask",
    "One flipped bit in the log",
    "All receipts",
)

HITS_SHOWN: Final = 3

_WORDS: Final = 70  # of a comment's line, so that no terminal breaks what is to be copied

AMQTT_MEANS: Final = (
    "The broker is amqtt: links are encrypted, but client certificates are not asked for (mosquitto does)."
)
MOSQUITTO_MEANS: Final = "The broker is mosquitto: every client shows a certificate and is held to its own topics."


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """A finished step."""

    number: int
    title: str
    told: Told
    seconds: float

    def as_json(self) -> dict[str, object]:
        """Return it for programs."""
        return {
            "step": self.number,
            "title": self.title,
            "seen": self.told.seen,
            "proves": self.told.proves,
            "figure": self.told.figure,
            "claims": self.told.claims,
            "seconds": round(self.seconds, 2),
            **self.told.facts,
        }


class Story:
    """One run of the demo on a stage."""

    def __init__(self, stage: Stage, screen: Screen, *, engine: str, clip: Path | None) -> None:
        self._stage = stage
        self._screen = screen
        self._engine = engine
        self._clip = clip
        self._agent: Child | None = None
        self.found = Found(own_clip=clip is not None)
        self.steps: list[Step] = []
        self.report = stage.folder / "report.html"

    def tell(self) -> None:
        """Play all steps and write the report; raises ``DemoError`` where one does not hold."""
        begun_s = clock.monotonic_s()
        self._screen.open(
            "A recording's life, from the camera to its deletion — everything below happens on this machine, now.",
            [f"Files, logs and keys: {self._stage.shown(self._stage.folder)}"],
        )
        for number, (title, act) in enumerate(zip(TITLES, self._acts(), strict=True), start=1):
            self.play_step(number, title, act)
        total_s = clock.monotonic_s() - begun_s
        self.found.by_hand = self._by_hand()
        report.write(self.report, self.found, [step.as_json() for step in self.steps], total_s=total_s)
        self._screen.table([(step.number, step.title, step.told.figure, f"{step.seconds:.1f}") for step in self.steps])
        self._screen.requests(self.found.requests)
        self._screen.close(self._last_lines(total_s))

    def _acts(self) -> list[Callable[[], Told]]:
        stage, found, live = self._stage, self.found, self._screen.live
        cameras: list[Child] = []
        clouds: list[Child] = []

        def set_up() -> Told:
            cameras.extend(opening.start_camera(stage, self._clip))
            return opening.set_up(stage, found, engine=self._engine, live=live)

        def upload() -> Told:
            clouds.append(crossing.start_cloud(stage, found))
            return self._with_agent(crossing.upload(stage, found, clouds[0], live=live))

        return [
            set_up,
            lambda: finding.find(stage, live=live),
            lambda: opening.record(stage, found, cameras, live=live),
            lambda: opening.seal(stage, found, live=live),
            upload,
            lambda: crossing.receipt(stage, found, clouds[0], live=live),
            lambda: crossing.unreadable(stage, found, live=live),
            lambda: crossing.stock_tools(stage, found, live=live),
            lambda: self._with_agent(forgetting.retention(stage, found, self._running(), live=live)),
            lambda: self._with_agent(forgetting.delete(stage, found, self._running(), live=live)),
            lambda: self._with_agent(forgetting.theft(stage, found, self._running(), live=live)),
            lambda: asking.ask(stage, found, live=live),
            lambda: proving.audit(stage, found, live=live),
            lambda: proving.receipts(stage, found, live=live),
        ]

    def play_step(self, number: int, title: str, act: Callable[[], Told]) -> None:
        """Play one step; raises ``DemoError`` when a claim of it does not hold."""
        self._screen.begin(number, title)
        begun_s = clock.monotonic_s()
        try:
            told = act()
            step = Step(number=number, title=title, told=told, seconds=clock.monotonic_s() - begun_s)
            self.steps.append(step)
            self._require(told)
        except BaseException:
            self._screen.fail(number, title)
            raise
        self._screen.end(number, title, told, seconds=step.seconds)

    def _require(self, told: Told) -> None:
        if broken := [claim for claim, holds in told.claims.items() if not holds]:
            hits = "".join(f"\n  found: {hit.file}, at byte {hit.offset:,}" for hit in told.hits[:HITS_SHOWN])
            raise DemoError(
                f"does not hold: {'; '.join(broken)}\n  seen: {told.seen}{hits}\n  next: read {self._stage.logs}"
            )

    def _running(self) -> Child:
        assert self._agent is not None, "step 5 started it"  # noqa: S101 - the order of the steps
        return self._agent

    def _with_agent(self, ended: tuple[Told, Child]) -> Told:
        told, self._agent = ended
        return told

    def _by_hand(self) -> list[tuple[str, str]]:
        stage, found = self._stage, self.found
        header, payload = (stage.shown(path) for path in crossing.stored_files(stage, "kept", found))
        identity, config = stage.shown(stage.home / "identity.txt"), stage.shown(stage.config)
        home, flipped = stage.shown(stage.home), stage.shown(stage.folder / "audit-flipped.jsonl")
        note = "" if shutil.which("age") else " (age is not installed here; privacy-agent decrypt takes its place)"
        opened = stage.shown(stage.folder / "kept-by-hand.mp4")
        return [
            (
                f"open what the cloud holds, as its owner{note}",
                f"cat {header} \\\n    {payload} |\n  age -d -i {identity} > {opened}",
            ),
            (
                "ask why the kept clip is still here, and until when",
                f"{stage.typed('privacy-agent')} explain {found.objects['kept']} \\\n  --config {config}",
            ),
            (
                "judge the log with the flipped bit",
                f"{stage.typed('privacy-owner')} --home {home} \\\n  verify {flipped}",
            ),
        ]

    def _last_lines(self, total_s: float) -> list[str]:
        means = MOSQUITTO_MEANS if self.found.engine == "mosquitto" else AMQTT_MEANS
        claims = sum(len(step.told.claims) for step in self.steps)
        lines = [
            f"{len(self.steps)} steps, {claims} claims checked, {total_s:.0f} s. {means}",
            f"The pictures: {self._stage.shown(self.report)} (open it in a browser; it needs no network)",
            "",
            "Three to try by hand:",
        ]
        for what, command in self.found.by_hand:
            lines += [f"  # {part}" for part in wrap(what, _WORDS)]
            lines += [f"  {part}" for part in command.split("\n")]
        return lines
