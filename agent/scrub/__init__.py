"""Reads every sealed payload again, slowly, and finds those that are not what was sealed.

The numbers are those of docs/design.md, quoted as S1 to S7:

    1 choose · 2 look · 3 look again · 4 quarantine · 5 give · 6 put in place · 7 end

``look.py`` reads one payload from the medium, ``budget.py`` says when, ``flow.py`` decides what follows. S5 to S7 are
the vault's, when the source's copy is taken in again. Nothing is imported here: the config needs the settings alone.
"""
