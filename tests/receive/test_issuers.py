from __future__ import annotations

from idtoken_proxy.receive.issuers import issuer_of


def test_google_has_two_spellings_and_iap_another_key() -> None:
    google, iap = issuer_of("google"), issuer_of("iap")
    assert google.spellings == {"accounts.google.com", "https://accounts.google.com"}
    assert google.algorithms == {"RS256"}
    assert iap.algorithms == {"ES256"}
    assert google.keys_url == "https://www.googleapis.com/oauth2/v3/certs"
    assert iap.keys_url == "https://www.gstatic.com/iap/verify/public_key-jwk"
    assert issuer_of("google", "http://127.0.0.1:1/certs").keys_url == "http://127.0.0.1:1/certs"


def test_an_issuer_is_its_url_to_the_letter_and_its_document_is_below() -> None:
    issuer = issuer_of("https://issuer.example.com/pool/")
    assert issuer.spellings == {"https://issuer.example.com/pool/"}
    assert issuer.keys_url == "https://issuer.example.com/pool/.well-known/openid-configuration"
    assert (issuer.discovers, issuer.names_emails) == (True, False)
    assert issuer.namespace == "issuer.example.com/pool:"
