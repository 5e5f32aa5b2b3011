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
    "card-swapped",
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
    "power-cut": "all stops at once, unsaid; mend it to put the power back",
    "reset": "it forgets its agent and empties its card (once)",
    "clock-wrong": "ten years behind, and it believes it",
    "clock-unsure": "ten years behind, and it says that it is unsure",
    "card-full": "no room on its card",
    "card-missing": "no card in it",
    "card-swapped": "another card in it, until it is mended",
    "card-failing": "its card answers with errors",
    "card-corrupt": "one bit of each recording has turned",
    "link-slow": "its camera link gives 16 KiB a second",
    "link-cut": "its camera link breaks off after each 64 KiB",
    "link-silent": "its camera link never answers",
    "advert-spoofed": "its advert leads to an address where nobody is",
    "identity-changed": "it answers with another key, as an impostor would",
    "bluetoothd-dead": "the Bluetooth daemon of the machine near it is killed",
    "adapter-gone": "the Bluetooth adapter of the machine near it is pulled",
}

BREAKAGES_HELP: Final = "\n".join(f"  {name:<17} {meaning}" for name, meaning in MEANING.items())
