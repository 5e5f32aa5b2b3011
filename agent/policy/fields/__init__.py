"""Field rules: what of a usage log's lines is kept, made coarser or hidden before the log is sealed.

- ``rule``       the rules, as frozen values
- ``reading``    ``[category.usage-log.fields]`` becomes rules, or a ``ConfigError``
- ``order``      which of two sets of rules tells no more than the other
- ``value``      one rule applied to one value
- ``line``       all of them applied to one line
- ``tally``      what is counted of that
- ``log``        a log, part by part: no more of it than a line is held

What no rule names is dropped (invariant I9), and what is dropped is counted. Nothing here reads a clock or makes a key:
the keys of pseudonyms come in from outside, one for each rotation period, and whoever destroys a key makes every
pseudonym of its time one that nobody can make again.

Names are imported from these modules: the agent itself needs the rules only, the sealing process what applies them.
"""
