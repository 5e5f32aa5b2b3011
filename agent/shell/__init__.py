"""What the two shell commands, of the device and of its owner, have in common.

    parser     the command line, and a sub-command with its example
    version    what is installed
    ending     exit codes, and how an error is told in words and as JSON
    layout     tables and sizes (pure)
    times      times as people write and read them (pure)
    held       the sum beneath an inventory (pure)
    field_rules  what field rules did to usage logs (pure)
    operand    the files and pipes that a command line names
    terminal   what a person sees while it works, and what may be shown at all
    crypt      keys made, files opened: as ``age-keygen`` and ``age`` do

Start-up counts as much as the cipher does, so a module is imported by the function that needs it.
"""
