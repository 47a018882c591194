"""Side-by-side runs of this proxy and its peers: `python -m bench`, or `make bench`.

One core is the proxy's, the others are the load's and the receiver's; everything stays on 127.0.0.1.

    __main__.py     the options, the order of work, the report
    scenarios.py    what is measured, and how one measurement is taken
    rounds.py       rounds over several targets in rotating order
    targets.py      this proxy and its peers: how each is found, configured and started
    receiver.py     the private service behind them: nginx, which refuses a request without a token; nghttpd for HTTP/2
    metadata.py     the metadata server that hands out the token
    load.py, load.lua    many small requests by wrk
    http2_load.py   calls as gRPC makes them, and large bodies by HTTP/2, by h2load
    bulk.py         large bodies, idle connections and a stalled reader over plain sockets
    http2_core.py   microseconds of HTTP/2's core without sockets: `python -m bench.http2_core`
    profiler.py     a flame graph of this proxy under load
    processes.py    starting, pinning and ending what was started
    machine.py      what the figures were taken on

and, pure:

    wrk_output.py   what wrk printed -> Load
    h2load_output.py    what h2load printed -> Http2Load
    procfs.py       /proc -> processor time and memory of a process tree
    stats.py        medians, and ratios taken within a round
    bars.py         the bars that the project sets itself, with a verdict
    report.py       Markdown
"""
