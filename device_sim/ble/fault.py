"""How the machine that looks for cameras breaks: switches of the ``org.bluez`` double, and things done once."""

from typing import Final

SWITCHES: Final = {
    "mute": "a scan runs and hears nothing, and nobody says so",
    "start-wedged": "StartDiscovery is never answered",
    "start-busy": "StartDiscovery answers InProgress, as to a second scanner",
    "connect-fails": "Connect answers le-connection-abort-by-local and the link is gone",
    "connect-wedged": "Connect is never answered",
    "services-unresolved": "a connection comes up and its services never do",
    "offers-twice": "a camera has each of its characteristics twice",
    "read-hangs": "a read loses the link and is never answered",
    "read-cut": "a read loses the link and is answered Failed",
    "read-busy": "a read answers InProgress, for as long as this is on",
    "information-locked": "what a camera says of its maker, model and firmware is refused, as before pairing",
    "raises-security": "a request that needs pairing begins it and waits, as BlueZ does, instead of failing",
}

ONCE: Final = {
    "die": "the daemon is gone, without a signal",
    "start": "a new daemon",
    "pull": "the adapter is pulled out",
    "plug": "and in again",
    "power-off": "the adapter is switched off",
    "power-on": "and on again",
    "cut": "every link is lost",
    "forget": "every device is removed, as after TemporaryTimeout",
    "flood N [cameras]": "N devices of changing addresses are heard, some thousand a second; all of them cameras",
}
