"""The metadata server's face: apps that use Google's libraries find an identity here, on a laptop and in a container.

GCE_METADATA_HOST leads the libraries to it. What they are handed comes out of the proxy's own token cache, and the
configuration bounds it: one identity, the listed audiences, one set of scopes. Whoever can ask is handed a token that can
be carried away, and no library sends a caller's secret. So it listens on loopback unless told otherwise, and what no page
and no forwarder can send decides who may ask.

guard.py        may this request be answered; pure
tree.py         what there is to ask for, and how it is written; pure
handed_out.py   the tokens, and whose they are
counts.py       what was asked for, and what became of it
app.py          the listener

Sources: https://cloud.google.com/compute/docs/metadata/querying-metadata and
https://cloud.google.com/compute/docs/metadata/predefined-metadata-keys; and the libraries themselves: google-auth
(compute_engine/_metadata.py), gcp-metadata (src/index.ts), Go's compute/metadata, Java's ComputeEngineCredentials.
"""
