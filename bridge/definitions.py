"""The life of scans and strategies of our own: saved, approved, deployed, enabled, disabled, deleted; each step is audited.

Reading a definition needs numpy, which a bridge without any never loads.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bridge.core.clock import Clock
from bridge.core.definition import DefinitionRecord, DefinitionVersion, Deployment
from bridge.core.errors import ConfigError, RefusedError
from bridge.core.reasons import AuditAction, RefusalCode
from bridge.core.values import evolve
from bridge.settings import Settings
from bridge.store.store import Store
from bridge.store.tx import Tx

if TYPE_CHECKING:
    from bridge.scanner.definition import Definition

MAX_BODY = 64 * 1024
MAX_DEFINITIONS = 200
RESERVED_NAME = "new"  # /scans/new is where one is written


@dataclass(frozen=True, slots=True, kw_only=True)
class DefinitionView:
    """A definition as pages and commands show it; `source` is what was written."""

    record: DefinitionRecord
    source: Mapping[str, Any]
    accounts: tuple[str, ...]
    note: str = ""


class Definitions:
    """The definitions of one bridge."""

    def __init__(self, settings: Settings, store: Store, clock: Clock):
        self._settings = settings
        self._store = store
        self._clock = clock

    # -- reading -------------------------------------------------------------------------------------------------------

    def all(self) -> list[DefinitionView]:
        """All of them, by name."""
        return [self._view(record) for _name, record in sorted(self._store.ledger.definitions.values.items())]

    def get(self, name: str) -> DefinitionView | None:
        """One of them."""
        record = self._store.ledger.definitions.get(name)
        return None if record is None else self._view(record)

    def versions(self, name: str) -> list[DefinitionVersion]:
        """Every version that was saved, the latest first."""
        found = [kept for (kept_name, _), kept in self._store.ledger.definition_versions.values.items() if kept_name == name]
        return sorted(found, key=lambda kept: kept.saved_at, reverse=True)

    @property
    def any_enabled(self) -> bool:
        """True when one is enabled, which can be told without reading it."""
        return any(record.enabled for record in list(self._store.ledger.definitions.values.values()))

    def read(self, record: DefinitionRecord) -> "Definition":
        """A definition as it is now; RefusedError when what was saved has no meaning in this release, or another one now."""
        definition = self._read(self._body(record))
        if definition.version != record.version:
            raise _refused("factors", f"The factors that {record.name} uses have changed since it was saved.", "Save it again.")
        return definition

    def accounts_of(self, record: DefinitionRecord) -> tuple[str, ...]:
        """The accounts that its signals go to: its strategy's, paper or live; none where the version is not approved."""
        is_live = record.deployment is Deployment.LIVE
        strategy = self._settings.strategies.get(record.strategy)
        if strategy is None or (is_live and not record.is_approved):
            return ()
        return tuple(name for name in strategy.accounts if self._settings.accounts[name].is_paper is not is_live)

    # -- the steps of its life -----------------------------------------------------------------------------------------

    async def save(self, source: Any, *, by: str, name: str = "", is_new: bool = False) -> DefinitionView:
        """Create it, or make its next version; RefusedError says what is wrong. One that is live is disabled by an edit.

        `name`: the one that it has to be; `is_new`: none that is there already.
        """
        definition = self._read(source)
        if definition.name == RESERVED_NAME:
            raise _refused("name", f"{RESERVED_NAME} is no name for a definition: a page has it.", "Choose another name.")
        if is_new and self.get(definition.name) is not None:
            raise _refused(
                "name", f"There is a definition {definition.name} already.", "Edit that one, or choose another name."
            )
        if name and definition.name != name:
            raise _refused("name", f"It is {name}'s version, and calls itself {definition.name}.", "A name cannot be changed.")
        if definition.strategy not in self._settings.strategies:
            known = ", ".join(sorted(self._settings.strategies))
            raise _refused("strategy", f"The settings have no strategy {definition.strategy}.", f"One of: {known}.")
        body = json.dumps(definition.source, default=str, ensure_ascii=False)
        if len(body) > MAX_BODY:
            raise _refused("", f"It is {len(body)} characters long.", f"At most {MAX_BODY}.")
        await self._store.write(lambda tx: self._save(tx, definition, body, by))
        return self._found(definition.name)

    def _save(self, tx: Tx, definition: "Definition", body: str, by: str) -> None:
        name, now = definition.name, self._clock.now()
        known = tx.ledger.definitions.get(name)
        if known is not None and known.version == definition.version:
            return
        if known is None and len(tx.ledger.definitions.values) >= MAX_DEFINITIONS:
            raise _refused("name", f"There are {MAX_DEFINITIONS} definitions already.", "Delete one that is not needed.")
        version = DefinitionVersion(name=name, version=definition.version, body=body, saved_at=now, by=by)
        tx.put(tx.ledger.definition_versions, (name, definition.version), version)
        fresh = DefinitionRecord(name=name, version=definition.version, strategy=definition.strategy, updated_at=now)
        record = fresh
        if known is not None:
            stays = known.enabled and known.deployment is Deployment.PAPER
            record = evolve(known, version=definition.version, strategy=definition.strategy, enabled=stays, updated_at=now)
        self._put(tx, AuditAction.DEFINITION_SAVED, record, by, f"{name} {definition.version}")

    async def enable(self, name: str, *, by: str) -> DefinitionView:
        """Let it run from the next closed bar on."""
        record = self._record(name)
        self.read(record)
        if record.deployment is Deployment.LIVE and not record.is_approved:
            raise _refused(
                "name", f"{name} {record.version} is not approved for live accounts.", "Approve it, or deploy to paper."
            )
        if not self.accounts_of(record):
            raise _refused("name", f"{record.strategy} has no {record.deployment.value} account.", "Deploy it elsewhere.")
        others = [each.name for each in self._store.ledger.definitions.values.values() if each.enabled and each.name != name]
        if others := [each for each in others if self._record(each).strategy == record.strategy]:
            hint = "Give each a strategy of its own in the settings: what is held is counted by strategy."
            raise _refused("strategy", f"{others[0]} runs under {record.strategy} already.", hint)
        return await self._change(name, AuditAction.DEFINITION_ENABLED, by, f"on {record.deployment.value}", enabled=True)

    async def disable(self, name: str, *, by: str) -> DefinitionView:
        """Let it raise nothing any more; what it holds stays as it is."""
        return await self._change(name, AuditAction.DEFINITION_DISABLED, by, "", enabled=False)

    async def approve(self, name: str, version: str, *, by: str) -> DefinitionView:
        """A person has read this version and lets it trade live; another version has to be approved anew."""
        record = self._record(name)
        if version != record.version:
            raise _refused("version", f"{name} stands at {record.version}.", "Look at that one, then approve it.")
        changes = {"approved_version": version, "approved_by": by, "approved_at": self._clock.now()}
        return await self._change(name, AuditAction.DEFINITION_APPROVED, by, version, **changes)

    async def deploy(self, name: str, deployment: Deployment, *, by: str) -> DefinitionView:
        """Send its signals to paper accounts, or to live ones, for which its version has to be approved."""
        record = evolve(self._record(name), deployment=deployment)
        if deployment is Deployment.LIVE and not record.is_approved:
            raise _refused(
                "name", f"{name} {record.version} is not approved.", f"`bridge scan approve {name} {record.version}`."
            )
        if not self.accounts_of(record):
            raise _refused("deployment", f"{record.strategy} has no {deployment.value} account.", "Name one in the settings.")
        return await self._change(name, AuditAction.DEFINITION_DEPLOYED, by, deployment.value, deployment=deployment)

    async def delete(self, name: str, *, by: str) -> None:
        """Forget it; its versions stay, for what they did."""
        record = self._record(name)
        if record.enabled:
            raise _refused("name", f"{name} is enabled.", "Disable it first.")
        await self._store.write(lambda tx: self._delete(tx, record, by))

    def _delete(self, tx: Tx, record: DefinitionRecord, by: str) -> None:
        tx.put(tx.ledger.definitions, record.name, None)
        tx.audit(AuditAction.DEFINITION_DELETED, self._clock.now(), message=f"{record.name} {record.version}", data={"by": by})
        tx.touch("definition")

    # -- inside --------------------------------------------------------------------------------------------------------

    async def _change(self, name: str, action: AuditAction, by: str, message: str, **changes: Any) -> DefinitionView:
        def change(tx: Tx) -> None:
            record = tx.ledger.definitions.get(name)
            if record is None:
                raise _refused("name", f"There is no definition {name}.", "See `bridge scan list`.")
            moved = evolve(record, updated_at=self._clock.now(), **changes)
            self._put(tx, action, moved, by, f"{name} {record.version} {message}".rstrip())

        await self._store.write(change)
        return self._found(name)

    def _put(self, tx: Tx, action: AuditAction, record: DefinitionRecord, by: str, message: str) -> None:
        tx.put(tx.ledger.definitions, record.name, record)
        tx.audit(action, record.updated_at, message=message, data={"by": by})
        tx.touch("definition")

    def _record(self, name: str) -> DefinitionRecord:
        record = self._store.ledger.definitions.get(name)
        if record is None:
            raise _refused("name", f"There is no definition {name[:40]}.", "See `bridge scan list`.")
        return record

    def _found(self, name: str) -> DefinitionView:
        return self._view(self._record(name))

    def _view(self, record: DefinitionRecord) -> DefinitionView:
        source = self._body(record)
        note = str(source.get("note", "")) if isinstance(source, Mapping) else ""
        return DefinitionView(record=record, source=source, accounts=self.accounts_of(record), note=note)

    def _body(self, record: DefinitionRecord) -> Any:
        kept = self._store.ledger.definition_versions.get((record.name, record.version))
        return {} if kept is None else json.loads(kept.body)

    def _read(self, source: Any) -> "Definition":
        from bridge.scanner.definition import read_definition
        from bridge.scanner.own_factors import load_factors

        try:
            return read_definition(source, load_factors(self._settings.factors))
        except ConfigError as error:
            key, _, told = str(error).partition(": ")
            raise _refused(key if told else "", str(error), "See docs/scanner.md.") from None


def _refused(field: str, message: str, hint: str) -> RefusedError:
    return RefusedError(RefusalCode.E_FIELD, message, field=field or None, hint=hint)
