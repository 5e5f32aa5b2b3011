"""What a remark of a receipt means to a person: the sentences of docs/protocol.md §5, which its codes stand for."""

from typing import Final

REMARKS: Final[dict[str, str]] = {
    "source_copy_remains": "the source still has its own file: it is not ours to remove, or it was changed, or could "
    "not be removed so far",
    "clear_source_blocks_may_remain": "the camera wrote in clear to a disk, which may keep old blocks",
    "export_copy_remains": "a sealed export on the device still holds a copy, until it is deleted or its time is over "
    "(7 days, if the policy names no other)",
    "half_upload_aborted": "it was on its way to the store, which was told to forget what it had",
    "cloud_unconfirmed": "the store has not yet stated that its copies are gone",
    "cloud_confirmed": "the store has stated that its copies are gone",
    "camera_unconfirmed": "the camera has not yet been asked, or not answered, that its own copy is gone; it is asked "
    "whenever it is there with the card that has it",
    "store_copy_remains": "a store's copy was made while that was allowed, and stays until it is deleted: "
    "privacy-owner delete ID",
    "copy_absent": "a store said that it has no copy of some of it: what this device has still is uploaded anew",
    "store_not_asked": "a store whose key is not in the key set any more has copies, and is asked for nothing",
    "not_readable_here": "the device cannot open it, so it cannot be sealed anew for fewer readers: it stays here",
    "camera_confirmed": "the camera has answered that its own copy is gone",
}
