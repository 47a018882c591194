"""What a metadata server says, in its own words as people have posted them."""

from __future__ import annotations

from idtoken_proxy.errors import Fault
from idtoken_proxy.identity.sources.metadata_refusal import refusal
from tests.cases import for_each

NOT_ANNOTATED = (
    "Your Kubernetes service account (shop/frontend) is not annotated with a target Google service account, which is a "
    "requirement for retrieving Identity Tokens using Workload Identity.\nPlease add the "
    "iam.gke.io/gcp-service-account=[GSA_NAME]@[PROJECT_ID] annotation to your Kubernetes service account.\n"
)
NOT_BOUND = (
    "Unable to generate token; IAM returned 403 Forbidden: Permission 'iam.serviceAccounts.getOpenIdToken' denied on "
    "resource (or it may not exist).\nThis error could be caused by a missing IAM policy binding on the target IAM service "
    "account.\nFor more information, refer to the Workload Identity documentation:\n\thttps://cloud.google.com/...\n"
)
GONE = "Unable to generate access token; IAM returned 404 Not Found: Gaia id not found for email x@y.iam.gserviceaccount.com\n"
NOT_READY = "Unable to find PodInfo for pod with IP 10.0.0.7\n"


@for_each("status", [400, 403, 404, 500])
@for_each(
    ("said", "cause", "remedy"),
    [
        (
            NOT_ANNOTATED,
            "gke_not_annotated",
            "kubectl annotate serviceaccount frontend --namespace shop iam.gke.io/",
        ),
        (NOT_ANNOTATED, "gke_not_annotated", "PROJECT.svc.id.goog[shop/frontend]"),
        (NOT_BOUND, "gke_not_bound", "--role=roles/iam.workloadIdentityUser"),
        (NOT_BOUND.replace("token;", "access token;"), "gke_not_bound", "svc.id.goog[NAMESPACE/KSA]"),
        (GONE, "gke_no_such_account", "kubectl get serviceaccount"),
        (NOT_READY, "metadata_unavailable", "gke-metadata-server"),
    ],
)
def test_gke_s_sentences_are_read_whatever_their_status(
    status: int, said: str, cause: str, remedy: str
) -> None:
    error = refusal(status, said, "default")
    assert error.cause == cause
    assert error.fault is (Fault.GOOGLE if cause == "metadata_unavailable" else Fault.OPERATOR)
    assert error.remedy is not None
    assert remedy in error.remedy


@for_each(
    ("status", "said", "account", "detail"),
    [
        (404, "", "default", "has no service account attached here"),
        (404, "not found", "a@b.example", "knows no service account a@b.example here"),
        (
            403,
            "scope not allowed\nmore",
            "default",
            "refused (403) a token of account default: scope not allowed",
        ),
        (400, "<html>no</html>", "default", "refused (400) a token of account default"),
        (500, "internal\x1b[2J", "default", "answered 500: internal [2J"),
        (429, "slow down", "default", "answered 429"),
    ],
)
def test_any_other_answer_is_told_with_its_first_line(
    status: int, said: str, account: str, detail: str
) -> None:
    error = refusal(status, said, account)
    assert error.detail.endswith(detail)


def test_what_may_be_a_secret_in_it_is_not_shown() -> None:
    assert "e" * 64 not in refusal(403, "no: " + "e" * 64, "default").detail
