"""HTTP/2 (RFC 9113) and HPACK (RFC 7541) without I/O: octets in, calls to a listener and octets out.

Nothing here awaits, reads a clock of its own or logs.

Whoever owns a connection hands it what was read (`receive`), writes what `take_output` gives, and says so when the network
has taken it (`written`). A listener is told of heads, DATA and ends; it answers with `encode` and `send_head`, `send_data`,
`send_end` or `reset`, gives a stream's credit back as its DATA leaves (`release_credit`, for what `send_data` and `on_sent` of
the other side tell), and a cancelled request's place once nothing of it is left upstream (`release_slot`). A token is
`never_indexed` octets behind an encoded block: its renewal changes no table and no memo.

A deadline for a peer's preface, its SETTINGS acknowledgment, a drain and a stream without progress is its owner's.

    error_codes.py       the codes of RST_STREAM and GOAWAY, and the two kinds of error that carry them
    frames.py            frame types, flags, and every frame as octets
    frame_reader.py      octets -> frames, whole or at any split
    header_block.py      HEADERS and its CONTINUATIONs -> one block, counted before it is joined
    huffman.py           the string code of RFC 7541
    hpack_integer.py     its integers
    hpack_table.py       its static and dynamic table
    hpack_decoder.py     a block -> fields, bounded while it is decoded
    hpack_encoder.py     fields -> a block, from a table that only grows
    pair.py              one field as an encoder takes it
    fields.py            the rules for one field (RFC 9113 section 8.2)
    heads.py             the rules for all fields of a request, a response and a trailer section (section 8.3)
    block_memo.py        a block's octets -> what was made of them
    head_shapes.py       heads that are alike but for some values
    settings.py          SETTINGS: what each value may be
    streams.py           the states of a stream as a table (section 5.1)
    flow_control.py      windows, and when credit is given back (section 5.2)
    budgets.py           how much of what costs us more than the peer is borne
    outbox.py            what goes out: heads, DATA as far as the windows allow, control frames
    dispatcher.py        octets to the handler of each frame; SETTINGS and PING
    connection.py        what both roles do with a stream's frames, and with what is sent
    server_connection.py, client_connection.py   the role towards the app, and towards the receiver
    listener.py          what a connection tells
"""
