"""What this server does not emulate, in words for people. `python -m service.apiserver --unsupported` prints it."""

UNSUPPORTED: tuple[str, ...] = (
    "authorization: the one token may do everything; RBAC objects are stored, not enforced; reviews always say yes",
    "admission: webhooks and ValidatingAdmissionPolicies are not called (webhook configurations are stored), "
    "no quotas, no limit ranges, no Pod security",
    "CEL: x-kubernetes-validations in CRDs are stored and not evaluated",
    "conversion webhooks: refused; between versions of a CRD only apiVersion changes",
    "controllers: no ReplicaSets, Pods, Endpoints or CronJob runs are made; --simulate-workloads writes ready statuses instead",
    "service accounts: no tokens, no `default` ServiceAccount, no kube-root-ca.crt ConfigMap",
    "Services: no cluster IPs or node ports are allocated",
    "Pod subresources: log, exec, attach, port-forward, proxy, eviction, binding, ephemeralcontainers, resize (404)",
    "scale of custom resources (404)",
    "events.k8s.io/v1 (use core/v1 Events), autoscaling/v1, certificates, flow control, DRA, API aggregation",
    "watch with sendInitialEvents (422: clients fall back to list and watch), lists at an exact past "
    "resourceVersion (newest data is answered)",
    "protobuf and CBOR bodies (406 and 415): `kubectl create configmap` and its like send protobuf, `create -f` and `apply` do not",
    "quantities are kept as written (1000m stays 1000m)",
    "validation of builtin kinds is their OpenAPI schema plus names, selectors, containers and immutable "
    "fields; cross-field rules are not checked",
    "aggregated discovery (plain discovery is answered), /openapi/v2 has no schemas, /openapi/v3 has no descriptions",
    "Pods are deleted at once: no grace period",
    "TTLs: Events stay until they are deleted",
)
