"""Spans for OpenTelemetry: of each sampled exchange, of each attempt at its receiver, of each token's fetch.

spans.py     what an exchange that has ended becomes; pure, and without OpenTelemetry
pipeline.py  who is sampled, and where spans go: what the composition root opens and closes
export.py    OpenTelemetry's SDK: batches, and a thread that posts them

Which exchanges are traced, and what they take down, is engine/traced_exchange.py's. Where no spans are wanted nothing of this
package is imported, and nothing of OpenTelemetry's.
"""
