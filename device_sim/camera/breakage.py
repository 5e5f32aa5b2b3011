"""What breaks on command in a camera as hardware; ``fault`` is what goes wrong with a file in a folder.

Each is a switch that stays until it is mended, but for ``power-cut`` and ``reset``, which happen once. A face acts on
those that are its own and leaves the rest alone.
"""

from typing import Final, Literal, get_args

Breakage = Literal[
    "power-cut",
    "reset",
    "clock-wrong",
    "clock-unsure",
    "card-full",
    "card-missing",
    "card-failing",
    "card-corrupt",
    "link-slow",
    "link-cut",
    "link-silent",
    "advert-spoofed",
    "identity-changed",
    "bluetoothd-dead",
    "adapter-gone",
]

BREAKAGES: Final[tuple[Breakage, ...]] = get_args(Breakage)
ONCE: Final[frozenset[Breakage]] = frozenset({"power-cut", "reset"})

MEANING: Final[dict[Breakage, str]] = {
    "power-cut": "everything stops at once, unsaid; what was being recorded is lost; `mend` puts the power back",
    "reset": "forgets its agent and empties its card, as by a long press on its button",
    "clock-wrong": "its clock is ten years behind, and it believes it",
    "clock-unsure": "its clock is ten years behind, and it says that it does not believe it",
    "card-full": "no room on its card",
    "card-missing": "no card in it",
    "card-failing": "its card answers with errors",
    "card-corrupt": "one bit of each recording has turned",
    "link-slow": "its camera link gives 16 KiB a second",
    "link-cut": "its camera link breaks off after 64 KiB of every answer",
    "link-silent": "its camera link takes connections and never answers",
    "advert-spoofed": "somebody else announces it at another address",
    "identity-changed": "it answers with another key, as an impostor would",
    "bluetoothd-dead": "the Bluetooth daemon of the machine that looks for it is killed",
    "adapter-gone": "the Bluetooth adapter of the machine that looks for it is pulled out",
}
