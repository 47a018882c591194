"""Why a metadata server gives no token: its status, and what GKE's says beside it.

https://cloud.google.com/kubernetes-engine/docs/troubleshooting/authentication#pod-cant-authenticate and
https://cloud.google.com/compute/docs/metadata/querying-metadata#rate_limits.
"""

from __future__ import annotations

import re
from typing import Final

from idtoken_proxy.errors import Fault, TokenError
from idtoken_proxy.identity.redaction import redacted

ELSEWHERE: Final = (
    "Only Google Cloud has one. Elsewhere: identity: auto, after gcloud auth application-default login; or "
    "{type: service_account, key_file: FILE}, or {type: external_account, config_file: FILE}; without Google: "
    "idtoken-proxy emulate"
)
_ATTACH: Final = (
    "Attach one: gcloud run services update SERVICE --service-account=EMAIL, or for a VM "
    "gcloud compute instances set-service-account INSTANCE --service-account=EMAIL; on GKE, bind "
    "the pod's service account by Workload Identity"
)

_KUBERNETES_ACCOUNT: Final = re.compile(r"Kubernetes service account \(?([a-z0-9.-]+)/([a-z0-9.-]+)\)?")
_NOT_ANNOTATED: Final = re.compile(r"is not annotated with a target Google service account", re.IGNORECASE)
_IAM_RETURNED: Final = re.compile(r"IAM returned (\d{3})", re.IGNORECASE)
_NOT_READY: Final = re.compile(
    r"(?:unable|fail\w*|could not|not) (?:to )?(?:find|found|retrieve|get|determine)\b.{0,80}\b(?:pod|IP)\b|pod .{0,60}not (?:yet )?(?:found|ready)",
    re.IGNORECASE | re.DOTALL,
)


def refusal(status: int, said: str, account: str) -> TokenError:
    """`said`: the answer's body. GKE's is read; of any other, the first line is shown."""
    if status == 429:
        # For all of a machine together.
        return TokenError(
            "the metadata server answered 429",
            cause="metadata_unavailable",
            fault=Fault.GOOGLE,
            remedy="All on this machine together ask it too often. The proxy tries again by itself; see who else asks, as "
            "an app does that fetches a token for each request",
        )
    told = _of_gke(said)
    if told is not None:
        return told
    if status == 404:
        whose = (
            "has no service account attached here"
            if account == "default"
            else f"knows no service account {account} here"
        )
        return TokenError(
            f"the metadata server {whose}", cause="no_service_account", fault=Fault.OPERATOR, remedy=_ATTACH
        )
    line = redacted(said.strip().partition("\n")[0]) if not said.lstrip().startswith("<") else ""
    words = f": {line}" if line else ""
    if status >= 500:
        return TokenError(
            f"the metadata server answered {status}{words}", cause="metadata_unavailable", fault=Fault.GOOGLE
        )
    return TokenError(
        f"the metadata server refused ({status}) a token of account {account}{words}",
        cause="metadata_refused",
        fault=Fault.OPERATOR,
        remedy="On GKE, the pod's service account needs roles/iam.workloadIdentityUser on the Google service account",
    )


def _of_gke(said: str) -> TokenError | None:
    """Its sentences, whatever status they come with: 400, 403, 404 and 500 have been seen."""
    found = _KUBERNETES_ACCOUNT.search(said)
    namespace, name = found.groups() if found else ("NAMESPACE", "KSA")
    if _NOT_ANNOTATED.search(said):
        return TokenError(
            f"the pod's Kubernetes service account {namespace}/{name} names no Google service account, which ID tokens need",
            cause="gke_not_annotated",
            fault=Fault.OPERATOR,
            remedy=f"kubectl annotate serviceaccount {name} --namespace {namespace} iam.gke.io/gcp-service-account=EMAIL; and "
            f"let it: {_bind(namespace, name)}",
        )
    iam = _IAM_RETURNED.search(said)
    if iam is not None and iam[1] in {"403", "404"}:
        missing = iam[1] == "404"
        return TokenError(
            "the Google service account that the pod's Kubernetes service account names "
            + ("does not exist" if missing else "does not let it act as itself")
            + f" (IAM returned {iam[1]})",
            cause="gke_no_such_account" if missing else "gke_not_bound",
            fault=Fault.OPERATOR,
            remedy="See which it names: kubectl get serviceaccount KSA --namespace NAMESPACE -o yaml, "
            "iam.gke.io/gcp-service-account; gcloud iam service-accounts list"
            if missing
            else _bind(namespace, name),
        )
    if _NOT_READY.search(said):
        return TokenError(
            f"the node's metadata server does not know this pod yet: {redacted(said.strip().partition(chr(10))[0])}",
            cause="metadata_unavailable",
            fault=Fault.GOOGLE,
            remedy="It passes within seconds of the pod's start, and the proxy tries again by itself; if it stays: kubectl -n "
            "kube-system logs -l k8s-app=gke-metadata-server",
        )
    return None


def _bind(namespace: str, name: str) -> str:
    return (
        "gcloud iam service-accounts add-iam-policy-binding EMAIL --role=roles/iam.workloadIdentityUser "
        f'--member="serviceAccount:PROJECT.svc.id.goog[{namespace}/{name}]"'
    )
