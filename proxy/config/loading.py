"""Reads a configuration: takes the tables, checks each setting and what settings mean together, makes the `Config`.

Tables are walked in the order of the file, and so are the problems. What depends on several settings is checked as
soon as they are known; a setting that has a problem of its own is left out of that.
"""

import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from msgspec import Struct, structs

from proxy.config.clients import check_client, check_digests
from proxy.config.environment import read_environment, refuse_beside_file
from proxy.config.files import MAX_FILE, FileStamp, Unusable, is_there, read_text
from proxy.config.kinds import type_name, what_is_seen
from proxy.config.lines import line_of, lines_of
from proxy.config.listeners import check_exposure, check_ports, check_share
from proxy.config.misplaced import about_shop_name, meant_setting, unknown_section, unknown_setting, without_name
from proxy.config.problems import ConfigError, Place, Problems, unknown
from proxy.config.proxies import has_no_effect, proxy_for_all
from proxy.config.schema import (
    SECTIONS,
    ClientConfig,
    Config,
    PlatformSettings,
    ServerConfig,
    SharedConfig,
    ShopSettings,
    UpstreamConfig,
)
from proxy.config.sharing import check_shared
from proxy.config.shops import check_batches, shops_of
from proxy.config.values import ValueReader, expectation
from proxy.platforms.egress_proxy import EgressProxy
from proxy.platforms.platform import SHOP_PLACEHOLDER, Platform, TokenRequestForm, is_shop_name
from proxy.platforms.shop import WILDCARD
from proxy.platforms.shoprenter import SHOPRENTER
from proxy.platforms.toss_shopping import TOSS_SHOPPING, TOSS_SHOPPING_ALPHA

BUILT_IN: Final[Mapping[str, Platform]] = MappingProxyType(
    {platform.name: platform for platform in (SHOPRENTER, TOSS_SHOPPING, TOSS_SHOPPING_ALPHA)}
)


def load_config(path: Path | None, environ: Mapping[str, str]) -> Config:
    """Return the configuration in the TOML file at `path`, or, without one, in the variables of `environ`.

    Relative file names in the file begin at the file's directory, those in variables at the working directory. See
    proxy/config/environment.py for the variables, and for what becomes of them beside a file. Reads the files with
    secrets and certificates that are named. Raises `ConfigError` with every problem.
    """
    problems = Problems()
    values = ValueReader(path.parent if path else Path(), environ, from_text=path is None)
    text = _read(values.note(path), problems) if path else None
    document = _parse(text, values.files) if path else read_environment(environ, problems)
    config = None if document is None else Loader(values, problems).load(document)
    if path:
        refuse_beside_file(path, environ, values.variables_used, problems)
    if problems or config is None:
        lines = lines_of(text or "")
        told = problems.lines(lambda place: line_of(place, lines))
        raise ConfigError(problems.lines(), values.files, told=told)
    return structs.replace(config, files=values.files, variables=frozenset(values.variables_used))


def _read(path: Path, problems: Problems) -> str | None:
    try:
        # Windows editors like to begin a file with a byte order mark, which TOML does not know.
        return read_text(path, MAX_FILE).removeprefix("\ufeff")
    except Unusable as error:
        meant = is_there(path) or str(error).endswith("?")
        problems.add((), str(error) if meant else f"{error}; shop-auth-proxy init makes one")
        return None


def _parse(text: str | None, files: Mapping[Path, FileStamp]) -> dict[str, Any] | None:
    try:
        return None if text is None else tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        from proxy.config.syntax import explain  # noqa: PLC0415 - for this message alone

        found = explain(text or "", error)
        told = (f"line {found.line}: not TOML: {found.sentence}",)
        raise ConfigError(told, files, excerpt=found.excerpt) from None
    except (ValueError, RecursionError):
        from proxy.config.syntax import TOO_MUCH, find_excess  # noqa: PLC0415 - likewise

        found = find_excess(text or "")
        told = (f"line {found.line}: {found.sentence}",)
        raise ConfigError((TOO_MUCH,), files, told=told, excerpt=found.excerpt) from None


class Loader:
    """Takes a document to pieces, and notes what is wrong."""

    def __init__(self, values: ValueReader, problems: Problems) -> None:
        self._values = values
        self._problems = problems
        self._has_clients = False

    def load(self, document: Mapping[str, Any]) -> Config | None:
        """Return the configuration, or `None` if there were problems."""
        # A shop may name a platform that stands below it, a client a shop; and clients below open the host above.
        known_platforms = BUILT_IN.keys() | _keys(document, "platforms")
        known_shops = _keys(document, "shops")
        self._has_clients = "clients" in document
        sections: dict[str, Any] = {name: schema() for name, schema in SECTIONS.items()}
        platforms = dict(BUILT_IN)
        shops: dict[str, Mapping[str, Any]] = {}
        clients: dict[str, Mapping[str, Any]] = {}
        for name, table in document.items():
            if name in SECTIONS:
                sections[name] = self._section(name, table)
            elif name == "platforms":
                platforms |= {key: self._platform(key, platform) for key, platform in self._tables((name,), table)}
            elif name == "shops":
                shops = {key: self._shop(key, shop, known_platforms) for key, shop in self._tables((name,), table)}
            elif name == "clients":
                clients = {key: self._client(key, client, known_shops) for key, client in self._tables((name,), table)}
                self._check_clients(clients)
            else:
                self._problems.add((name,), unknown_section(name, table))
        check_ports(sections["server"], sections["admin"], self._problems)
        misnamed = any(isinstance(document[name], dict) for name in document if (name,) in self._problems)
        if not shops and not misnamed:
            self._problems.add(("shops",), "there is no shop: add [shops.NAME] with its client_id and client_secret")
        self._check_hosts(platforms.values(), shops)
        self._check_client_ids(platforms, shops)
        check_batches(platforms, shops, self._problems)
        proxy = self._proxy_for_all(sections["upstream"])
        if self._problems:
            return None
        # Whoever has the setting keeps to it, false included.
        with_own = {name for name, table in document.get("platforms", {}).items() if "proxy" in table}
        platforms |= {name: replace(platforms[name], proxy=proxy) for name in platforms.keys() - with_own}
        return Config(
            **sections,
            shops=shops_of(shops, platforms),
            platforms=MappingProxyType(platforms),
            clients=MappingProxyType({key: ClientConfig(**client) for key, client in clients.items()}),
        )

    def _section(self, name: str, table: object) -> Struct:
        settings = self._settings((name,), table, SECTIONS[name])
        section = SECTIONS[name](**settings)
        if isinstance(section, ServerConfig):
            check_exposure(section, self._problems, has_clients=self._has_clients)
            # Only as it is written: whoever lowers max_connections alone need not know of the other.
            check_share(settings.get("max_connections_per_address", 0), section.max_connections, self._problems)
        if isinstance(section, SharedConfig):
            check_shared(section, self._problems)
        return section

    def _proxy_for_all(self, upstream: UpstreamConfig) -> EgressProxy | None:
        try:
            return proxy_for_all(upstream, self._values.environ)
        except ValueError as error:
            self._problems.add(("upstream", "trust_env"), str(error))
            return None

    def _shop(self, key: str, table: object, known_platforms: set[str]) -> Mapping[str, Any]:
        place = ("shops", key)
        if key != WILDCARD:
            self._check_shop_name(place, key)
        settings = self._settings(place, table, ShopSettings)
        if "shop_name" in settings and key == WILDCARD:
            self._problems.add(
                (*place, "shop_name"),
                "has no effect here, since the wildcard entry serves shops under their own names: remove it",
            )
        elif "shop_name" in settings:
            self._check_shop_name((*place, "shop_name"), settings["shop_name"])
        if settings.get("platform", SHOPRENTER.name) not in known_platforms:
            self._problems.add((*place, "platform"), unknown("platform", settings["platform"], known_platforms))
        return settings

    def _client(self, name: str, table: object, known_shops: set[str]) -> Mapping[str, Any]:
        settings = self._settings(("clients", name), table, ClientConfig)
        if isinstance(table, dict):
            check_client(name, table, settings, known_shops, self._problems)
        return settings

    def _check_clients(self, clients: Mapping[str, Mapping[str, Any]]) -> None:
        if not clients:
            self._problems.add(
                ("clients",),
                "there is no client: add [clients.NAME] with its secret, or remove [clients] if anyone may call",
            )
        check_digests({name: ClientConfig(**settings) for name, settings in clients.items()}, self._problems)

    def _check_shop_name(self, place: Place, name: str) -> None:
        if not is_shop_name(name.encode(errors="replace")):
            self._problems.add(place, about_shop_name(name))

    def _platform(self, name: str, table: object) -> Platform:
        """Return the platform as far as it can be made, for the built-in ones from what the file leaves as it is."""
        place = ("platforms", name)
        base = BUILT_IN.get(name)
        settings = self._settings(place, table, PlatformSettings, complete=base is None)
        for key in settings:
            if key in ("token_url", "api_url"):
                self._check_url((*place, key), settings)
        if self._problems.in_table(place):
            return base or SHOPRENTER
        if base and base.scopes and (more := settings.get("scopes")):
            settings["scopes"] = replace(base.scopes, needed_for={**base.scopes.needed_for, **more.needed_for})
        try:
            platform = replace(base, **settings) if base else Platform(name=name, **settings)
        except ValueError as error:
            key, _, sentence = str(error).partition(": ")
            self._problems.add((*place, key), sentence)
            return base or SHOPRENTER
        if has_no_effect(platform):
            self._problems.add((*place, "proxy"), "is not used for http:// URLs, which are called directly: remove it")
        return platform

    def _check_hosts(self, platforms: Iterable[Platform], shops: Mapping[str, Mapping[str, Any]]) -> None:
        """Note a problem for each host name that stands for more than one shop."""
        claims: dict[str, list[tuple[Platform, str]]] = {}
        for platform in platforms:
            served = [key for key, shop in shops.items() if shop.get("platform", SHOPRENTER.name) == platform.name]
            for host in platform.hosts:
                if SHOP_PLACEHOLDER not in host:
                    claims.setdefault(host, []).extend((platform, key) for key in served)
        for host, claimed in claims.items():
            keys = [key for _, key in claimed]
            if len(keys) > 1 or WILDCARD in keys:
                self._problems.add(
                    ("platforms", claimed[0][0].name, "hosts"),
                    f'"{host}" could be any of the shops {", ".join(keys)}: put {SHOP_PLACEHOLDER} in it',
                )

    def _check_client_ids(self, platforms: Mapping[str, Platform], shops: Mapping[str, Mapping[str, Any]]) -> None:
        for key, shop in shops.items():
            platform = platforms.get(shop.get("platform", SHOPRENTER.name))
            if platform and platform.token_request is TokenRequestForm.BASIC_RAW and ":" in shop.get("client_id", ""):
                self._problems.add(
                    ("shops", key, "client_id"),
                    "must not contain a colon, which ends the user name in HTTP Basic (RFC 7617): write"
                    ' token_request = "basic" if the platform decodes it',
                )

    def _check_url(self, place: Place, settings: Mapping[str, Any]) -> None:
        *table, key = place
        # If that setting has a problem of its own, it is not known whether the URL has one too.
        allow_private = (*table, "allow_private") in self._problems or settings.get("allow_private", False)
        try:
            replace(SHOPRENTER, rewrite_links=False, allow_private=allow_private, **{key: settings[key]})
        except ValueError as error:
            self._problems.add(place, str(error).removeprefix(f"{key}: ") + what_is_seen(settings[key]))
            return
        if not allow_private and not settings[key].lower().startswith("https:"):
            self._problems.add(
                place,
                "http:// would send the secret or the token in the clear: write https://, or set allow_private = true"
                " if the host is in your own network",
            )

    def _tables(self, place: Place, value: object) -> list[tuple[str, object]]:
        if not isinstance(value, dict):
            self._problems.add(place, f"must be tables, such as [{place[0]}.demo], not {type_name(value)}")
            return []
        if why := without_name(place[0], value):
            self._problems.add(place, why)
            return []
        return list(value.items())

    def _settings(self, place: Place, table: object, schema: type[Struct], *, complete: bool = True) -> dict[str, Any]:
        """Return the settings of a table that are written there and can be used. A `complete` one has what it must."""
        if not isinstance(table, dict):
            self._problems.add(place, f"must be a table, [{self._problems.name(place)}], not {type_name(table)}")
            return {}
        known = {field.name: field for field in structs.fields(schema)}
        misspelt = {meant_setting(key, known) for key in table if key not in known}
        settings = {}
        for key, value in table.items():
            if key not in known:
                self._problems.add((*place, key), unknown_setting(place, key, value, known))
                complete = complete and not isinstance(value, dict)  # what is missing stands in there
                continue
            try:
                settings[key] = self._values.read(known[key].type, value)
            except Unusable as error:
                self._problems.add((*place, key), f"{error}{what_is_seen(value)}")
        for key, field in known.items():
            if complete and field.required and key not in table and key not in misspelt:
                self._problems.add((*place, key), f"is missing: it {expectation(field.type)}")
        return settings


def _keys(document: Mapping[str, Any], section: str) -> set[str]:
    tables = document.get(section)
    return set(tables) if isinstance(tables, dict) else set()
