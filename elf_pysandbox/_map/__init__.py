"""A tool over a file of JSON lines: each row exactly once in the output, whatever ends the run.

- `rows`: the input, row by row, as arguments.
- `output`: the output file as the record of what is done; reading it back is all that resuming takes.
- `runner`: the calls in flight.
- `progress`: what a person sees meanwhile.
"""
