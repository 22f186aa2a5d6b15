"""kustomize's default field specs as data (kustomize api v0.21.0, internal/konfig/builtinpluginconsts, Apache-2.0).

Written as rows of "path", kind, group, version; pod specs stand in several kinds at several places, so their rows are made from HOLDERS.
"""

from service.kustomize.fieldspecs import FieldSpec, Gvk, Specs

HOLDERS = {
    "Pod": "spec",
    "PodTemplate": "template/spec",
    "Deployment": "spec/template/spec",
    "ReplicaSet": "spec/template/spec",
    "ReplicationController": "spec/template/spec",
    "DaemonSet": "spec/template/spec",
    "StatefulSet": "spec/template/spec",
    "Job": "spec/template/spec",
    "CronJob": "spec/jobTemplate/spec/template/spec",
}
"""Where the pod spec of a kind stands."""

EIGHT = ("Pod", "PodTemplate", "Deployment", "ReplicaSet", "DaemonSet", "StatefulSet", "Job", "CronJob")
SEVEN = ("Pod", "StatefulSet", "Deployment", "ReplicationController", "CronJob", "Job", "DaemonSet")
RBAC, ADMISSION = "rbac.authorization.k8s.io", "admissionregistration.k8s.io"


def spec(path: str, kind: str = "", group: str = "", version: str = "", *, create: bool = False) -> FieldSpec:
    """Return one row."""
    return FieldSpec(path, create, Gvk(group, version, kind))


def _in_pods(kinds: tuple[str, ...], *paths: str) -> Specs:
    """Rows for fields of pod specs. Pods of the ConfigMap and Secret rows are asked for v1, as upstream writes it."""
    return tuple(
        spec(f"{HOLDERS[kind]}/{path}", kind, version="v1" if kind == "Pod" and kinds is EIGHT else "") for kind in kinds for path in paths
    )


def _templates(field: str) -> Specs:
    """metadata of the object and of the pod templates, for labels and annotations."""
    group = "apps" if field == "labels" else ""
    claims = (spec("spec/volumeClaimTemplates[]/metadata/labels", "StatefulSet", "apps", create=True),) if field == "labels" else ()
    return (
        spec(f"metadata/{field}", create=True),
        spec(f"spec/template/metadata/{field}", "ReplicationController", version="v1", create=True),
        *(spec(f"spec/template/metadata/{field}", kind, create=True) for kind in ("Deployment", "ReplicaSet", "DaemonSet")),
        spec(f"spec/template/metadata/{field}", "StatefulSet", group, create=True),
        *claims,
        spec(f"spec/template/metadata/{field}", "Job", "batch", create=True),
        spec(f"spec/jobTemplate/metadata/{field}", "CronJob", "batch", create=True),
        spec(f"spec/jobTemplate/spec/template/metadata/{field}", "CronJob", "batch", create=True),
    )


def _affinities(kind: str) -> Specs:
    holder = "spec/template/spec"
    terms = ("preferredDuringSchedulingIgnoredDuringExecution/podAffinityTerm", "requiredDuringSchedulingIgnoredDuringExecution")
    return (
        *(
            spec(f"{holder}/affinity/{affinity}/{term}/labelSelector/matchLabels", kind, "apps")
            for affinity in ("podAffinity", "podAntiAffinity")
            for term in terms
        ),
        spec(f"{holder}/topologySpreadConstraints/labelSelector/matchLabels", kind, "apps"),
    )


COMMON_ANNOTATIONS = _templates("annotations")
TEMPLATE_LABELS = _templates("labels")
COMMON_LABELS = (
    spec("spec/selector", "Service", version="v1", create=True),
    spec("spec/selector", "ReplicationController", version="v1", create=True),
    spec("spec/selector/matchLabels", "Deployment", create=True),
    *_affinities("Deployment"),
    spec("spec/selector/matchLabels", "ReplicaSet", create=True),
    spec("spec/selector/matchLabels", "DaemonSet", create=True),
    spec("spec/selector/matchLabels", "StatefulSet", "apps", create=True),
    *_affinities("StatefulSet"),
    spec("spec/selector/matchLabels", "Job", "batch"),
    spec("spec/jobTemplate/spec/selector/matchLabels", "CronJob", "batch"),
    spec("spec/selector/matchLabels", "PodDisruptionBudget", "policy"),
    *(
        spec(f"spec/{place}/matchLabels", "NetworkPolicy", "networking.k8s.io")
        for place in ("podSelector", "ingress/from/podSelector", "egress/to/podSelector")
    ),
    *TEMPLATE_LABELS,
)
NAME_PREFIX = NAME_SUFFIX = (spec("metadata/name"),)
NAMESPACE = (
    spec("metadata/name", "Namespace", create=True),
    spec("spec/service/namespace", "APIService", "apiregistration.k8s.io", create=True),
    spec("spec/conversion/webhook/clientConfig/service/namespace", "CustomResourceDefinition", "apiextensions.k8s.io"),
)
IMAGES = tuple(
    spec(f"{holder}/{field}", create=True)
    for holder in ("spec", "spec/template/spec")
    for field in ("containers[]/image", "initContainers[]/image", "volumes[]/image/reference")
)
REPLICAS = tuple(spec("spec/replicas", kind, create=True) for kind in ("Deployment", "ReplicationController", "ReplicaSet", "StatefulSet"))

_VARIABLE = tuple(
    f"{containers}/{field}"
    for containers in ("containers", "initContainers")
    for field in ("args", "command", "env/value", "volumeMounts/mountPath")
)
_WITH_VARIABLES = ("CronJob", "DaemonSet", "Deployment", "Job", "Pod", "ReplicaSet", "StatefulSet")
VAR_REFERENCE = (
    *(spec(f"{HOLDERS[kind]}/{field}", kind) for kind in _WITH_VARIABLES for field in _VARIABLE),
    spec("spec/jobTemplate/spec/template/volumes/nfs/server", "CronJob"),
    *(spec(f"{HOLDERS[kind]}/volumes/nfs/server", kind) for kind in ("DaemonSet", "Deployment", "Job", "Pod", "ReplicaSet")),
    spec("spec/volumeClaimTemplates/spec/nfs/server", "StatefulSet"),
    spec("spec/template/metadata/annotations", "Deployment"),
    *(spec(f"spec/{field}", "Ingress") for field in ("rules/host", "tls/hosts", "tls/secretName")),
    *(spec(f"spec/ports/{field}", "Service") for field in ("port", "targetPort")),
    spec("spec/nfs/server", "PersistentVolume"),
    spec("metadata/labels"),
    spec("metadata/annotations"),
)

_SCALED = (spec("spec/scaleTargetRef/name", "HorizontalPodAutoscaler"),)
_ANNOTATION = "metadata/annotations/"
NAME_REFERENCE: tuple[tuple[Gvk, Specs], ...] = (
    *((Gvk(kind=kind), _SCALED) for kind in ("Deployment", "ReplicationController", "ReplicaSet", "StatefulSet")),
    (
        Gvk(version="v1", kind="ConfigMap"),
        (
            *_in_pods(
                EIGHT,
                "volumes/configMap/name",
                "containers/env/valueFrom/configMapKeyRef/name",
                "initContainers/env/valueFrom/configMapKeyRef/name",
                "containers/envFrom/configMapRef/name",
                "initContainers/envFrom/configMapRef/name",
                "volumes/projected/sources/configMap/name",
            ),
            spec("spec/configSource/configMap", "Node"),
            spec("rules/resourceNames", "Role"),
            spec("rules/resourceNames", "ClusterRole"),
            spec(_ANNOTATION + r"nginx.ingress.kubernetes.io\/fastcgi-params-configmap", "Ingress"),
        ),
    ),
    (
        Gvk(version="v1", kind="Secret"),
        (
            *_in_pods(
                EIGHT,
                "volumes/secret/secretName",
                "containers/env/valueFrom/secretKeyRef/name",
                "initContainers/env/valueFrom/secretKeyRef/name",
                "containers/envFrom/secretRef/name",
                "initContainers/envFrom/secretRef/name",
                "imagePullSecrets/name",
                "volumes/projected/sources/secret/name",
            ),
            spec("spec/tls/secretName", "Ingress"),
            spec(_ANNOTATION + r"ingress.kubernetes.io\/auth-secret", "Ingress"),
            spec(_ANNOTATION + r"nginx.ingress.kubernetes.io\/auth-secret", "Ingress"),
            spec(_ANNOTATION + r"nginx.ingress.kubernetes.io\/auth-tls-secret", "Ingress"),
            spec("imagePullSecrets/name", "ServiceAccount"),
            *(spec(f"parameters/{field}", "StorageClass") for field in ("secretName", "adminSecretName", "userSecretName", "secretRef")),
            spec("rules/resourceNames", "Role"),
            spec("rules/resourceNames", "ClusterRole"),
            spec("spec/template/spec/containers/env/valueFrom/secretKeyRef/name", "Service", "serving.knative.dev", "v1"),
            spec("spec/azureFile/secretName", "PersistentVolume"),
        ),
    ),
    (
        Gvk(version="v1", kind="Service"),
        (
            spec("spec/serviceName", "StatefulSet", "apps"),
            spec("spec/rules/http/paths/backend/serviceName", "Ingress"),
            spec("spec/backend/serviceName", "Ingress"),
            spec("spec/rules/http/paths/backend/service/name", "Ingress"),
            spec("spec/defaultBackend/service/name", "Ingress"),
            spec("spec/service/name", "APIService", "apiregistration.k8s.io"),
            spec("webhooks/clientConfig/service", "ValidatingWebhookConfiguration", ADMISSION),
            spec("webhooks/clientConfig/service", "MutatingWebhookConfiguration", ADMISSION),
        ),
    ),
    (Gvk(RBAC, "", "Role"), (spec("roleRef/name", "RoleBinding", RBAC),)),
    (Gvk(RBAC, "", "ClusterRole"), (spec("roleRef/name", "RoleBinding", RBAC), spec("roleRef/name", "ClusterRoleBinding", RBAC))),
    (
        Gvk(version="v1", kind="ServiceAccount"),
        (
            spec("subjects", "RoleBinding", RBAC),
            spec("subjects", "ClusterRoleBinding", RBAC),
            *_in_pods(SEVEN, "serviceAccountName"),
        ),
    ),
    (Gvk(version="v1", kind="PersistentVolumeClaim"), _in_pods(SEVEN, "volumes/persistentVolumeClaim/claimName")),
    (
        Gvk(version="v1", kind="PersistentVolume"),
        (spec("spec/volumeName", "PersistentVolumeClaim"), spec("rules/resourceNames", "ClusterRole")),
    ),
    (
        Gvk("storage.k8s.io", "v1", "StorageClass"),
        (
            spec("spec/storageClassName", "PersistentVolume"),
            spec("spec/storageClassName", "PersistentVolumeClaim"),
            spec("spec/volumeClaimTemplates/spec/storageClassName", "StatefulSet"),
        ),
    ),
    (Gvk("scheduling.k8s.io", "v1", "PriorityClass"), _in_pods(SEVEN, "priorityClassName")),
    # the group is malformed upstream, so this row never matches; it is kept since a `configurations` file may merge with it
    (Gvk("networking.k8s.io/v1", "v1", "IngressClass"), (spec("spec/ingressClassName", "Ingress"),)),
    (Gvk(ADMISSION, "", "ValidatingAdmissionPolicy"), (spec("spec/policyName", "ValidatingAdmissionPolicyBinding", ADMISSION),)),
)
