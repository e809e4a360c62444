"""What a podTemplate may ask for: the chart's admission policy, and the depth that nothing stored can have."""

import json

import pytest
import yaml
from apiserver_support import apply, changed, kubectl
from host import wait
from test_chart import rendered

pytestmark = pytest.mark.exclusive

OWN = "templates"


def nested(levels):
    """JSON as text: Python's own encoder does not go as deep as an API server reads."""
    return '{"a":' * levels + "{}" + "}" * levels


@pytest.fixture(scope="module")
def policy():
    """The chart's policy in force, and a namespace where an administrator lifted it."""
    bodies = [b for b in yaml.safe_load_all(rendered()) if b and b["kind"].startswith("ValidatingAdmissionPolicy")]
    assert len(bodies) == 2
    text = "---\n".join(map(yaml.safe_dump, bodies))
    assert kubectl("apply", "-f", "-", stdin=text).returncode == 0
    kubectl("create", "namespace", OWN)
    kubectl("label", "namespace", OWN, "aurora-operator.io/pod-templates=unrestricted")
    # A policy is in force some moments after it was stored.
    wait("the policy", lambda: template({"hostPID": True}).returncode != 0, 60)
    yield
    kubectl("delete", "-f", "-", stdin=text)
    kubectl("delete", "namespace", OWN, "--wait=false")


def template(spec, part="serving", namespace="default"):
    body = changed(f"spec.{part}.podTemplate", {"spec": spec})
    body["metadata"]["namespace"] = namespace
    return apply(body, "--dry-run=server")


def container(**fields):
    return {"containers": [{"name": "engine", **fields}]}


def ephemeral(**more):
    size = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
    return {"volumes": [{"name": "e", "ephemeral": {"volumeClaimTemplate": {"spec": size | more}}}]}


FORBIDDEN = [
    ({"hostNetwork": True}, "namespace of the node"),
    ({"hostPID": True}, "namespace of the node"),
    ({"hostIPC": True}, "namespace of the node"),
    ({"nodeName": "node0"}, "nodeName"),
    ({"serviceAccountName": "admin"}, "service account"),
    ({"automountServiceAccountToken": True}, "service account"),
    ({"securityContext": {"runAsUser": 0}}, "root"),
    ({"securityContext": {"runAsNonRoot": False}}, "root"),
    ({"securityContext": {"seccompProfile": {"type": "Unconfined"}}}, "unconfined"),
    ({"securityContext": {"sysctls": [{"name": "kernel.shm_rmid_forced", "value": "1"}]}}, "sysctls"),
    ({"securityContext": {"fsGroup": 0}}, "root"),
    ({"securityContext": {"supplementalGroups": [1, 0]}}, "root"),
    ({"securityContext": {"seLinuxOptions": {"type": "spc_t"}}}, "SELinux"),
    (container(securityContext={"seLinuxOptions": {"type": "spc_t"}}), "privilege"),
    (container(livenessProbe={"httpGet": {"port": 80, "host": "169.254.169.254"}}), "probe another host"),
    (container(startupProbe={"tcpSocket": {"port": 80, "host": "10.0.0.1"}}), "probe another host"),
    (container(lifecycle={"preStop": {"httpGet": {"port": 80, "host": "10.0.0.1"}}}), "probe another host"),
    (container(securityContext={"privileged": True}), "privilege"),
    (container(securityContext={"allowPrivilegeEscalation": True}), "privilege"),
    (container(securityContext={"runAsUser": 0}), "privilege"),
    (container(securityContext={"capabilities": {"add": ["SYS_ADMIN"]}}), "privilege"),
    ({"initContainers": [{"name": "x", "securityContext": {"privileged": True}}]}, "privilege"),
    (container(ports=[{"containerPort": 80, "hostPort": 80}]), "hostPort"),
    ({"volumes": [{"name": "h", "hostPath": {"path": "/"}}]}, "volume"),
    ({"volumes": [{"name": "s", "secret": {"secretName": "other"}}]}, "volume"),
    ({"volumes": [{"name": "s", "persistentVolumeClaim": {"claimName": "other"}}]}, "volume"),
    ({"volumes": [{"name": "s", "projected": {"sources": [{"secret": {"name": "other"}}]}}]}, "volume"),
    ({"volumes": [{"name": "s", "projected": {"sources": [{"serviceAccountToken": {"path": "t"}}]}}]}, "volume"),
    (
        {
            "volumes": [
                {
                    "name": "s",
                    "projected": {
                        "sources": [
                            {
                                "podCertificate": {
                                    "signerName": "a.example/b",
                                    "keyType": "ED25519",
                                    "credentialBundlePath": "c",
                                }
                            }
                        ]
                    },
                }
            ]
        },
        "volume",
    ),
    ({"volumes": [{"name": "s", "csi": {"driver": "secrets-store.csi.k8s.io"}}]}, "volume"),
    (ephemeral(dataSource={"kind": "PersistentVolumeClaim", "name": "other"}), "another volume"),
    (
        ephemeral(dataSourceRef={"kind": "PersistentVolumeClaim", "name": "other", "namespace": "kube-system"}),
        "another",
    ),
    (ephemeral(volumeName="pv-of-another"), "another volume"),
    (ephemeral(selector={"matchLabels": {"a": "b"}}), "another volume"),
    ({"resourceClaims": [{"name": "gpu", "resourceClaimName": "other"}]}, "ResourceClaim"),
    ({"priorityClassName": "system-node-critical"}, "priority"),
    ({"initContainers": [{"name": "x", "securityContext": {"procMount": "Unmasked"}}]}, "privilege"),
    (container(envFrom=[{"secretRef": {"name": "other"}}]), "Secret"),
    (container(env=[{"name": "X", "valueFrom": {"secretKeyRef": {"name": "o", "key": "k"}}}]), "Secret"),
    ({"initContainers": [{"name": "x", "image": "i", "envFrom": [{"secretRef": {"name": "o"}}]}]}, "Secret"),
    (container(env=[{"name": "X_API_KEY", "value": "abc"}]), "resembles a credential"),
    ({"initContainers": [{"name": "x", "args": ["--log-level", "hf_abcdefgh"]}]}, "resembles a credential"),
]
ALLOWED = [
    ephemeral(storageClassName="fast"),
    {"resourceClaims": [{"name": "gpu", "resourceClaimTemplateName": "one-gpu"}]},
    {"hostUsers": False, "shareProcessNamespace": True, "dnsConfig": {"searches": ["a.example"]}},
    {"nodeSelector": {"gpu": "h100"}, "tolerations": [{"operator": "Exists"}], "priorityClassName": "high"},
    {"imagePullSecrets": [{"name": "registry"}], "runtimeClassName": "nvidia"},
    {"volumes": [{"name": "scratch", "emptyDir": {"sizeLimit": "1Gi"}}, {"name": "c", "configMap": {"name": "c"}}]},
    container(
        readinessProbe={"httpGet": {"port": 80, "path": "/ready"}}, lifecycle={"preStop": {"sleep": {"seconds": 1}}}
    ),
    container(env=[{"name": "HTTPS_PROXY", "value": "http://proxy:3128"}, {"name": "TOKEN", "value": "/run/token"}]),
    container(env=[{"name": "NCCL_DEBUG", "value": "INFO"}], resources={"limits": {"cpu": 2, "memory": "1Gi"}}),
    {"securityContext": {"runAsUser": 1000, "fsGroup": 1000, "runAsNonRoot": True}},
    {"topologySpreadConstraints": [{"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "ScheduleAnyway"}]},
]


@pytest.mark.usefixtures("policy")
@pytest.mark.parametrize("part", ["serving", "training"])
@pytest.mark.parametrize(("spec", "message"), FORBIDDEN)
def test_a_template_borrows_no_rights(spec, message, part):
    done = template(spec, part)
    assert done.returncode != 0
    assert message in done.stderr


@pytest.mark.usefixtures("policy")
@pytest.mark.parametrize(("spec", "message"), FORBIDDEN)
def test_an_administrator_can_allow_it_for_a_namespace(spec, message):
    done = template(spec, namespace=OWN)
    assert done.returncode == 0, (message, done.stderr)


@pytest.mark.usefixtures("policy")
@pytest.mark.parametrize("spec", ALLOWED)
def test_what_pods_commonly_need_is_allowed(spec):
    done = template(spec)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("levels", [50, 1200])
@pytest.mark.parametrize("strict", ["strict", "ignore"])
def test_nothing_that_is_stored_is_deep(levels, strict):
    body = changed("spec.serving.podTemplate", {"spec": {"x": "NESTED"}})
    text = json.dumps(body).replace('"NESTED"', nested(levels))
    done = kubectl("create", f"--validate={strict}", "--dry-run=server", "-o", "json", "-f", "-", stdin=text)
    if done.returncode == 0:
        assert "x" not in json.loads(done.stdout)["spec"]["serving"]["podTemplate"].get("spec", {})


def test_a_template_s_fields_are_explained():
    done = kubectl("explain", "specdep.spec.serving.podTemplate.spec.tolerations")
    assert done.returncode == 0, done.stderr
    assert "tolerationSeconds" in done.stdout


@pytest.mark.usefixtures("policy")
@pytest.mark.parametrize(
    "key",
    [
        "container.apparmor.security.beta.kubernetes.io/engine",
        "k8s.v1.cni.cncf.io/networks",
        "io.kubernetes.cri-o.Devices",
        "io.katacontainers.config.hypervisor.path",
        "iam.amazonaws.com/role",
        "sidecar.istio.io/userVolume",
        "sidecar.istio.io/userVolumeMount",
        "v1.multus-cni.io/default-network",
        "cdi.k8s.io/gpus",
        "devices.nri.io/container.engine",
    ],
)
def test_an_annotation_borrows_no_rights(key):
    done = apply(changed("spec.serving.podTemplate", {"metadata": {"annotations": {key: "x"}}}), "--dry-run=server")
    assert done.returncode != 0
    assert "annotation" in done.stderr


@pytest.mark.parametrize("part", ["serving", "training"])
@pytest.mark.parametrize(
    ("template", "field"),
    [
        ({"spec": {"tolerationz": [{"operator": "Exists"}]}}, "spec.tolerationz"),
        ({"spec": {"nodeSelecter": {"gpu": "h100"}}}, "spec.nodeSelecter"),
        ({"spec": {"containers": [{"name": "engine", "resource": {}}]}}, "spec.containers[0].resource"),
    ],
)
def test_a_typo_is_refused_with_its_path(part, template, field):
    done = apply(changed(f"spec.{part}.podTemplate", template), "--dry-run=server")
    assert done.returncode != 0
    assert f"podTemplate.{field}" in done.stderr
