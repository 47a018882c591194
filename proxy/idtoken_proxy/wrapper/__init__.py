"""`idtoken-proxy run -- CMD`: four processes.

    idtoken-proxy run          single-threaded, nearly asleep: takes the signals, reaps, exits with the app's code
      |- the proxy             what `serve` is, in a process group of its own, away from the terminal's keys
      |- CMD                   in the place in which it would be without a wrapper: group, terminal, descriptors
      '- the witness           in CMD's group: tells which signals were sent to the whole of it

The one in the middle may be PID 1: it reaps whatever is left to it, and since it starts no other processes (the proxy
does, for gcloud), it takes no one else's children. Who dies with whom:

    the app ends               the proxy drains and ends; the app's exit code is the wrapper's
    the proxy ends             the app gets SIGTERM, and SIGKILL after timeouts.drain
                               not where somebody has asked it to stop: then it takes the time that it needs
    the wrapper is killed -9   Linux kills the app (PR_SET_PDEATHSIG); the proxy sees the end of a pipe, and ends

variables.py       what the app finds in its environment
launch.py          between fork and exec
signal_witness.py  who else has got a signal
supervise.py       signals and children, until the app has ended
run.py             all of it together
"""
