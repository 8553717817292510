"""deploy/kubernetes: the manifests are right by Kubernetes' schemas, and fit together, the proxy and its configuration.

The schemas come from `kubernetes-validate`. Where kubectl is, what it makes of each folder is held against them too.
"""

import re
import socket
import tomllib
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import kubernetes_validate  # type: ignore[import-untyped]
import pytest
import yaml

from proxy import __version__
from proxy.config import AdminConfig, ServerConfig
from proxy.platforms.shoprenter import SHOPRENTER
from tests.deploy.places import DEPLOY, SECRETS, documents, load, run, seconds_to_stop, tool
from tests.peers import answering, connected, response
from tests.ports import free_port
from tests.proxies import whole_path

FOLDERS = {name: DEPLOY / "kubernetes" / name for name in ("sidecar", "sidecar-old-hosts", "shared")}
OLDEST = "1.29"  # the first with sidecars by default
VERSIONS = [OLDEST, kubernetes_validate.latest_version()]
EVERY_ADDRESS = ""  # "0.0.0.0" would be none in a cluster that has IPv6 alone
SPARE_SECONDS = 5.0  # between the time that the proxy takes to stop at most and the time it gets
CUSTOM = {"ServiceMonitor"}  # of the Prometheus Operator: Kubernetes itself has no schema for them


def kustomization(folder: Path) -> dict[str, Any]:
    [document] = documents(folder / "kustomization.yaml")
    return document


def manifests(folder: Path) -> list[dict[str, Any]]:
    """The whole objects that stand in a folder, without patches."""
    patches = {patch["path"] for patch in kustomization(folder).get("patches", [])}
    files = sorted(path for path in folder.glob("*.yaml") if path.name not in patches | {"kustomization.yaml"})
    return [document for file in files for document in documents(file)]


def of_kind(kind: str, folder: Path) -> dict[str, Any]:
    [found] = [document for document in manifests(folder) if document["kind"] == kind]
    return found


def pod(folder: Path) -> dict[str, Any]:
    spec: dict[str, Any] = of_kind("Deployment", folder)["spec"]["template"]["spec"]
    return spec


def proxy_container(folder: Path) -> dict[str, Any]:
    spec = pod(folder)
    [found] = [
        each for each in spec.get("initContainers", []) + spec["containers"] if each["name"] == "shop-auth-proxy"
    ]
    assert isinstance(found, dict)
    return found


def base(folder: Path) -> Path:
    """The folder with the Deployment: for an overlay, the one beneath it."""
    if (folder / "deployment.yaml").is_file():
        return folder
    [beneath] = kustomization(folder)["resources"]
    return (folder / str(beneath)).resolve()


def settings(folder: Path) -> dict[str, Any]:
    return tomllib.loads((folder / "config.toml").read_text(encoding="utf-8"))


WITH_DEPLOYMENT = [folder for folder in FOLDERS.values() if base(folder) == folder]
each_folder = pytest.mark.parametrize("folder", FOLDERS.values(), ids=FOLDERS.keys())
each_deployment = pytest.mark.parametrize("folder", WITH_DEPLOYMENT, ids=[folder.name for folder in WITH_DEPLOYMENT])


# The files


@each_folder
def test_large_bodies_stay_within_the_temporary_directory(folder: Path) -> None:
    """Above the size of an emptyDir, the pod is evicted."""
    [tmp] = [
        each
        for each in of_kind("Deployment", base(folder))["spec"]["template"]["spec"]["volumes"]
        if "emptyDir" in each
    ]
    size = re.fullmatch(r"(\d+)Gi", tmp["emptyDir"]["sizeLimit"])

    assert size is not None
    server = settings(folder)["server"]
    assert server["spool_budget"] < int(size[1]) << 30


@pytest.mark.parametrize("version", VERSIONS)
@each_folder
def test_kubernetes_takes_every_manifest(folder: Path, version: str) -> None:
    for manifest in manifests(folder):
        if manifest["kind"] not in CUSTOM:
            kubernetes_validate.validate(manifest, version, strict=True)


def test_a_wrong_manifest_would_be_found() -> None:
    manifest = of_kind("Deployment", FOLDERS["shared"])
    manifest["spec"]["strategy"]["tipe"] = "Recreate"

    with pytest.raises(kubernetes_validate.ValidationError, match="tipe"):
        kubernetes_validate.validate(manifest, OLDEST, strict=True)


@each_folder
def test_what_kubectl_makes_of_a_folder_is_taken_too(folder: Path) -> None:
    made = run(tool("kubectl", "Kubernetes (1.21 or newer)"), "kustomize", folder)

    assert made.returncode == 0, made.stderr
    objects = list(yaml.safe_load_all(made.stdout))
    assert {"ConfigMap", "Deployment", "NetworkPolicy"} <= {each["kind"] for each in objects}
    for each in objects:
        for version in VERSIONS:
            kubernetes_validate.validate(each, version, strict=True)
    [config_map] = [each for each in objects if each["kind"] == "ConfigMap"]
    assert config_map["metadata"]["name"] == "shop-auth-proxy"
    assert tomllib.loads(config_map["data"]["config.toml"]) == settings(folder)
    assert f"image: shop-auth-proxy:{__version__}\n" in made.stdout


@each_folder
def test_a_folder_refers_to_what_is_there_and_leaves_nothing_out(folder: Path) -> None:
    kustomized = kustomization(folder)
    named = [*kustomized["resources"], *(patch["path"] for patch in kustomized.get("patches", []))]
    named += [file for each in kustomized["configMapGenerator"] for file in each["files"]]

    for name in named:
        path = folder / name
        assert path.is_file() or (path / "kustomization.yaml").is_file(), name
    unused = {path.name for path in folder.iterdir()} - set(named) - {"kustomization.yaml"}
    offered = set(re.findall(r"^  # - (\S+\.yaml)", (folder / "kustomization.yaml").read_text(), re.MULTILINE))
    assert unused == offered


def test_a_patch_changes_what_is_there_and_never_the_proxys_own_container() -> None:
    folder = FOLDERS["sidecar-old-hosts"]
    beneath = of_kind("Deployment", base(folder))
    for patch in kustomization(folder)["patches"]:
        [change] = documents(folder / patch["path"])

        assert (change["kind"], change["metadata"]["name"]) == (beneath["kind"], beneath["metadata"]["name"])
        spec = change["spec"]["template"]["spec"]
        assert "initContainers" not in spec
        assert {each["name"] for each in spec["containers"]} <= {
            each["name"] for each in pod(base(folder))["containers"]
        }


# The configuration


@each_folder
def test_the_proxy_takes_the_configuration(folder: Path, tmp_path: Path) -> None:
    """With the secrets that the command at the top of kustomization.yaml makes, and no others."""
    command = (base(folder) / "kustomization.yaml").read_text(encoding="utf-8")
    made = set(re.findall(r"--from-file=(\w+)=", command))
    assert made

    load(folder / "config.toml", made, tmp_path)


@each_folder
def test_the_ports_are_those_of_the_configuration(folder: Path) -> None:
    ports = {each["name"]: each["containerPort"] for each in proxy_container(base(folder))["ports"]}
    tables = settings(folder)

    assert ports["admin"] == tables["admin"].get("port", 9090)
    assert tables["admin"]["host"] == EVERY_ADDRESS
    if "http" in ports:
        assert ports["http"] == tables["server"].get("port", 8080)
        assert tables["server"]["host"] == EVERY_ADDRESS
    else:  # whoever is in the pod reaches it, and nobody else
        assert "host" not in tables.get("server", {})


@pytest.mark.skipif(not socket.has_ipv6, reason="there is no IPv6 here")
async def test_the_address_of_the_configurations_is_reached_by_ipv4_and_by_ipv6() -> None:
    server = ServerConfig(host=EVERY_ADDRESS, port=free_port(), allow_anonymous=True)
    admin = AdminConfig(host=EVERY_ADDRESS, port=free_port())
    async with whole_path(answering(response()), server=server, admin=admin):
        for host in ("127.0.0.1", "::1"):
            for port, target in ((server.port, b"/demo/products"), (admin.port, b"/livez")):
                async with connected(port, host) as client:
                    assert (await client.ask(b"GET %s HTTP/1.1\r\nHost: localhost\r\n\r\n" % target)).status == 200, (
                        host
                    )


@each_folder
def test_the_pod_gets_the_time_that_the_proxy_takes_to_stop(folder: Path) -> None:
    assert pod(base(folder))["terminationGracePeriodSeconds"] >= seconds_to_stop(settings(folder)) + SPARE_SECONDS


# The container


@each_deployment
def test_the_container_is_locked_in(folder: Path) -> None:
    security = proxy_container(folder)["securityContext"]

    assert security["runAsNonRoot"] is True
    assert security["runAsUser"] == security["runAsGroup"] > 0
    assert security["allowPrivilegeEscalation"] is False
    assert security["readOnlyRootFilesystem"] is True
    assert security["capabilities"] == {"drop": ["ALL"]}
    assert security["seccompProfile"] == {"type": "RuntimeDefault"}
    assert pod(folder)["automountServiceAccountToken"] is False


@each_deployment
def test_the_container_finds_its_files_and_sees_them_change(folder: Path) -> None:
    volumes = {volume["name"]: volume for volume in pod(folder)["volumes"]}
    mounts = {mount["mountPath"]: mount for mount in proxy_container(folder)["volumeMounts"]}

    assert mounts.keys() == {"/etc/shop-auth-proxy", SECRETS.rstrip("/"), "/tmp"}  # noqa: S108
    assert not [mount for mount in mounts.values() if "subPath" in mount]
    config, secrets, spool = (volumes[mounts[path]["name"]] for path in sorted(mounts))
    assert config["configMap"]["name"] == kustomization(folder)["configMapGenerator"][0]["name"]
    assert secrets["secret"] == {"secretName": "shop-auth-proxy", "defaultMode": 0o444}
    assert spool["emptyDir"].get("medium") is None  # in memory it would count against the limit


@each_deployment
def test_the_probes_ask_the_admin_port(folder: Path) -> None:
    container = proxy_container(folder)

    asked = {kind: container[f"{kind}Probe"]["httpGet"] for kind in ("startup", "readiness", "liveness")}
    assert asked == {
        "startup": {"path": "/readyz", "port": "admin"},
        "readiness": {"path": "/readyz", "port": "admin"},
        "liveness": {"path": "/livez", "port": "admin"},
    }


# What each folder is for


def test_the_sidecar_starts_before_the_application_and_ends_after_it() -> None:
    [sidecar] = pod(FOLDERS["sidecar"])["initContainers"]

    assert (sidecar["name"], sidecar["restartPolicy"]) == ("shop-auth-proxy", "Always")


def test_only_old_hosts_are_aliased_and_the_proxy_listens_where_they_are_called() -> None:
    folder = FOLDERS["sidecar-old-hosts"]
    [patch] = kustomization(folder)["patches"]
    [change] = documents(folder / patch["path"])
    spec = change["spec"]["template"]["spec"]
    [shop] = settings(folder)["shops"]
    needed = {urlsplit(url.replace("{shop}", shop)).hostname for url in (SHOPRENTER.token_url, SHOPRENTER.api_url)}

    [alias] = spec["hostAliases"]
    assert alias["ip"] == "127.0.0.1"
    assert set(alias["hostnames"]) == {f"{shop}.api.myshoprenter.hu", f"{shop}.api.shoprenter.hu"}
    assert not needed & set(alias["hostnames"])
    assert settings(folder)["server"] == {"port": 80, "spool_budget": 2_000_000_000}
    assert spec["securityContext"]["sysctls"] == [{"name": "net.ipv4.ip_unprivileged_port_start", "value": "80"}]


def test_the_shared_one_lets_in_who_shows_credentials() -> None:
    folder = FOLDERS["shared"]

    assert settings(folder)["clients"]
    assert "allow_anonymous" not in settings(folder)["server"]
    assert settings(folder)["server"]["drain_delay"] == 5.0


def test_the_objects_of_the_shared_one_find_each_other() -> None:
    folder = FOLDERS["shared"]
    template = of_kind("Deployment", folder)["spec"]["template"]
    labels = template["metadata"]["labels"]
    ports = {each["name"]: each["containerPort"] for each in proxy_container(folder)["ports"]}
    service = of_kind("Service", folder)
    monitor = of_kind("ServiceMonitor", folder)
    policy = of_kind("NetworkPolicy", folder)["spec"]

    assert of_kind("Deployment", folder)["spec"]["selector"]["matchLabels"] == labels
    assert service["spec"]["selector"] == labels
    assert {each["targetPort"] for each in service["spec"]["ports"]} == ports.keys()
    assert policy["podSelector"]["matchLabels"] == labels
    assert [each["ports"][0]["port"] for each in policy["ingress"]] == [ports["http"], ports["admin"]]
    # Its schema is the Prometheus Operator's; these are the fields it must have.
    assert monitor["apiVersion"] == "monitoring.coreos.com/v1"
    assert monitor["spec"].keys() == {"selector", "endpoints"}
    assert monitor["spec"]["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
    assert monitor["spec"]["endpoints"] == [{"port": "admin", "path": "/metrics", "interval": "15s"}]


def test_the_replicas_of_the_shared_one_share_and_are_never_all_gone() -> None:
    folder = FOLDERS["shared"]
    deployment = of_kind("Deployment", folder)["spec"]
    labels = deployment["template"]["metadata"]["labels"]
    affinity = deployment["template"]["spec"]["affinity"]["podAntiAffinity"]
    [preferred] = affinity["preferredDuringSchedulingIgnoredDuringExecution"]
    budget = of_kind("PodDisruptionBudget", folder)["spec"]

    assert deployment["replicas"] > 1
    assert deployment["strategy"] == {
        "type": "RollingUpdate",
        "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0},
    }
    assert preferred["podAffinityTerm"]["labelSelector"]["matchLabels"] == labels
    assert budget == {"maxUnavailable": 1, "selector": {"matchLabels": labels}}
    assert settings(folder)["shared"].keys() == {"url", "password", "encryption_key"}


REDIS = DEPLOY / "kubernetes" / "redis"


@pytest.mark.parametrize("version", VERSIONS)
def test_kubernetes_takes_the_redis_of_the_example(version: str) -> None:
    assert {each["kind"] for each in manifests(REDIS)} == {"Service", "StatefulSet", "NetworkPolicy"}
    for manifest in manifests(REDIS):
        kubernetes_validate.validate(manifest, version, strict=True)


def test_the_replicas_find_the_redis_of_the_example_and_nobody_else_does() -> None:
    folder = FOLDERS["shared"]
    proxies = of_kind("Deployment", folder)["spec"]["template"]["metadata"]["labels"]
    service, redis = of_kind("Service", REDIS), of_kind("StatefulSet", REDIS)["spec"]
    labels = redis["template"]["metadata"]["labels"]
    [container] = redis["template"]["spec"]["containers"]
    policy = of_kind("NetworkPolicy", REDIS)["spec"]
    leaving = of_kind("NetworkPolicy", folder)["spec"]["egress"]
    url = urlsplit(settings(folder)["shared"]["url"])

    assert "../redis" in kustomization(folder)["resources"]
    assert (url.hostname, url.port) == (service["metadata"]["name"], service["spec"]["ports"][0]["port"])
    assert service["spec"]["selector"] == redis["selector"]["matchLabels"] == labels
    assert redis["replicas"] == 1
    assert policy == {
        "podSelector": {"matchLabels": labels},
        "policyTypes": ["Ingress", "Egress"],
        "ingress": [
            {
                "from": [{"podSelector": {"matchLabels": proxies}}],
                "ports": [{"protocol": "TCP", "port": container["ports"][0]["containerPort"]}],
            }
        ],
    }
    assert {"to": [{"podSelector": {"matchLabels": labels}}], "ports": policy["ingress"][0]["ports"]} in leaving
    # The password is that of the proxies, and nothing is dropped that a limit depends on.
    [password] = container["env"]
    assert password["valueFrom"]["secretKeyRef"]["key"] in settings(folder)["shared"]["password"]["file"]
    assert {"--requirepass $(PASSWORD)", "--maxmemory-policy noeviction", '--save ""'} <= set(container["args"])
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    assert container["securityContext"]["runAsNonRoot"] is True


def range_of(ports: dict[str, Any]) -> range:
    """The ports that an entry of a network policy names: without any, all of them."""
    first = ports.get("port", 1)
    return range(first, ports.get("endPort", ports.get("port", 65535)) + 1)


@pytest.mark.parametrize(
    ("protocol", "port", "who"),
    [
        ("TCP", 1, "everybody"),
        ("TCP", 80, "everybody"),
        ("TCP", 9089, "everybody"),
        ("TCP", 9090, "monitoring"),
        ("TCP", 9091, "everybody"),
        ("TCP", 65535, "everybody"),
        ("UDP", 9090, "everybody"),
    ],
)
def test_only_prometheus_reaches_the_admin_port_of_the_sidecar_and_the_application_is_reached_as_ever(
    protocol: str, port: int, who: str
) -> None:
    folder = FOLDERS["sidecar"]
    policy = of_kind("NetworkPolicy", folder)["spec"]
    prometheus = [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}]

    admitted = [
        each.get("from")
        for each in policy["ingress"]
        for ports in each["ports"]
        if ports["protocol"] == protocol
        and ports.get("port", 1) <= port <= ports.get("endPort", ports.get("port", 65535))
    ]

    assert policy["podSelector"]["matchLabels"] == of_kind("Deployment", folder)["spec"]["selector"]["matchLabels"]
    assert policy["policyTypes"] == ["Ingress"]
    assert admitted == [prometheus if who == "monitoring" else None]
