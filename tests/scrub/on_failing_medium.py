"""Looks over a vault so many milliseconds after it was made, where its medium fails, and says what it knows by then."""

import sys
from pathlib import Path

from tests.scrub.scene import Scene


def main(folder: Path, later_ms: int) -> None:
    scene = Scene(folder)
    scene.later(later_ms)
    scene.look_over()
    damaged, doubted = (",".join(f"{a}:{b}" for a, b in one.items()) for one in (scene.damaged(), scene.doubted()))
    print(f"damaged={damaged} doubted={doubted}")
    scene.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
