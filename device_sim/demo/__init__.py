"""The demo: one camera's recordings live and die before your eyes, and every claim is measured while you watch.

The map::

    cli        the shell command   play  one playing: signals, exit codes, JSON
    story      the fourteen steps in order; what each saw
    opening    steps 1, 3, 4: set-up, camera, sealed before it is stored
    finding    step 2: cameras found, proved, and taken from over the camera link
    crossing   steps 5-8: upload cut and resumed, storage receipt, what the cloud can read, stock tools
    forgetting steps 9-11: retention, a delete cut and finished, the thief
    asking     step 12: consent taken back, a restriction, a hold, a third party
    proving    steps 13-14: a flipped byte in the log, all receipts
    stage      folders, child processes, commands and their answers
    found      what the steps found out and hand on
    residue    is a clear byte anywhere?   thief  the key tree read by somebody who stole everything
    picture    a frame and ciphertext as PNG   screen  the terminal   report  report.html

Rules: everything goes through the shell commands and public files, as a person would do it; every figure is measured in
this very run; a claim that does not hold ends the demo with exit code 1.
"""
