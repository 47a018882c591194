"""HTTP/2 (RFC 9113) and HPACK (RFC 7541) without I/O: octets in, calls to a listener and octets out.

Nothing here awaits, reads a clock of its own or logs; what a peer sends is its own affair until it has passed here.

    error_codes.py       the codes of RST_STREAM and GOAWAY, and the two kinds of error that carry them
    frames.py            frame types, flags, and every frame as octets
    frame_reader.py      octets -> frames, whole or at any split
    header_block.py      HEADERS and its CONTINUATIONs -> one block, counted before it is joined
    huffman.py           the string code of RFC 7541
    hpack_integer.py     its integers
    hpack_table.py       its static and dynamic table
    hpack_decoder.py     a block -> fields, bounded while it is decoded
    hpack_encoder.py     fields -> a block, from a table that only grows
    fields.py            the rules for one field (RFC 9113 section 8.2)
    heads.py             the rules for all fields of a request, a response and a trailer section (section 8.3)
    block_memo.py        a block's octets -> what was made of them
    settings.py          SETTINGS: what each value may be
    streams.py           the states of a stream as a table (section 5.1)
    flow_control.py      windows, and when credit is given back (section 5.2)
    budgets.py           how much of what costs us more than the peer is borne
    outbox.py            what goes out: heads, DATA as far as the windows allow, control frames
    connection.py        what both roles do with a frame
    server_connection.py, client_connection.py   the role towards the app, and towards the receiver
    listener.py          what a connection tells
"""
