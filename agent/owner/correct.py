"""``rectify``: what is told of a camera or a recording and is wrong, corrected on the device and at its stores."""

import argparse

from agent.errors import ConfigError
from agent.owner import command as requests
from agent.owner import device as devices
from agent.owner import send
from agent.owner.ask import ask
from agent.owner.context import Context, add
from agent.shell.parser import Subparsers


def add_parsers(subparsers: Subparsers) -> None:
    """Register ``rectify``."""
    rectify = add(
        subparsers,
        "rectify",
        summary="correct the name or the place of a camera, or the name of a recording",
        example="privacy-owner rectify --camera k3x9 --name 'Back door' --location 'Yard'",
        detail="The stores get the correction, signed by the device, sealed to you and to who may read their copies.",
        run=_rectify,
    )
    rectify.add_argument("object", nargs="?", default="", metavar="ID", help="the object that has another name")
    rectify.add_argument("--camera", default="", metavar="ID", help="the camera that has another name or place")
    rectify.add_argument("--name", metavar="TEXT", help="what it is called ('' for no name)")
    rectify.add_argument("--location", metavar="TEXT", help="where the camera is ('' for not said)")
    send.add_sending(rectify)


def _rectify(arguments: argparse.Namespace, context: Context) -> int:
    if bool(arguments.object) == bool(arguments.camera):
        raise ConfigError("what is to be corrected?", hint="name one object by its id, or one camera by --camera ID")
    told = {field: getattr(arguments, field) for field in ("name", "location")}
    if all(text is None for text in told.values()):
        raise ConfigError(
            "what is right is not said", hint=f"give --name{' or --location' if arguments.camera else ''}"
        )
    if arguments.object and arguments.location is not None:
        raise ConfigError(
            "only a camera has a place", hint="leave --location out; or name the camera: --camera ID --location TEXT"
        )
    own = {"set": {field: text for field, text in told.items() if text is not None}}
    if arguments.camera:
        target = {"camera": requests.require_camera(arguments.camera)}
    else:
        target = {"object": requests.require_object(arguments.object)}
    device = devices.pick(context.home, arguments.device)
    return ask(arguments, context, device, send.order(arguments, context, device, "rectify", own | target))
