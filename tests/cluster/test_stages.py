from service.cluster.inventory import ObjectId
from service.cluster.stages import staged


def kinds(*listed: str) -> list[ObjectId]:
    return [ObjectId("ns", "n", "x.io" if kind == "Gadget" else "", kind) for kind in listed]


def test_definitions_come_before_classes_before_the_rest() -> None:
    objects = kinds("Deployment", "GatewayClass", "ClusterRole", "Gadget", "Namespace", "CustomResourceDefinition", "WidgetClass")
    assert [[o.kind for run in stage for o in run] for stage in staged(objects)] == [
        ["CustomResourceDefinition", "Namespace", "ClusterRole"],
        ["GatewayClass", "WidgetClass"],
        ["Deployment", "Gadget"],
    ]


def test_order_inside_a_stage_is_fluxs() -> None:
    objects = kinds("ValidatingWebhookConfiguration", "Gadget", "CronJob", "Service", "Pod", "Secret", "ConfigMap", "Deployment", "Role")
    objects += kinds("MutatingWebhookConfiguration", "ServiceAccount", "Ingress")
    (stage,) = staged(objects)
    assert [o.kind for run in stage for o in run] == [
        *("ServiceAccount", "Role", "ConfigMap", "Secret", "Service", "Deployment", "CronJob", "Ingress", "Pod", "Gadget"),
        *("MutatingWebhookConfiguration", "ValidatingWebhookConfiguration"),
    ]


def test_objects_of_a_kind_are_one_run_sorted_by_name() -> None:
    objects = [ObjectId("b", "one", "", "Secret"), ObjectId("a", "two", "", "Secret"), ObjectId("a", "one", "", "Secret")]
    assert staged(objects) == (((objects[2], objects[1], objects[0]),),)


def test_nothing_has_no_stages() -> None:
    assert staged([]) == ()
