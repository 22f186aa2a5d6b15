"""What a kustomization's fields do to its objects: one module each. TRANSFORMERS is the order in which they run."""

from service.kustomize.layer import Configure
from service.kustomize.transformers import images, labels, names, namespace, patches, replacements, replicas

TRANSFORMERS: tuple[tuple[str, Configure], ...] = (
    ("PatchStrategicMergeTransformer", patches.configure_strategic),
    ("PatchTransformer", patches.configure),
    ("NamespaceTransformer", namespace.configure),
    ("PrefixTransformer", names.configure_prefix),
    ("SuffixTransformer", names.configure_suffix),
    ("LabelTransformer", labels.configure_labels),
    ("AnnotationsTransformer", labels.configure_annotations),
    ("PatchJson6902Transformer", patches.configure_json),
    ("ReplicaCountTransformer", replicas.configure),
    ("ImageTagTransformer", images.configure),
    ("ReplacementTransformer", replacements.configure),
)
"""(kustomize's name of the builtin, what configures it)."""
