"""All at a server that carries this package's mark, whosever stream it is of; and how one of these is removed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from airflow_reindex_provider.core.generations import made_at
from airflow_reindex_provider.core.model import Marked
from airflow_reindex_provider.targets.weaviate.definition import REGISTER, WeaviateDefinition
from airflow_reindex_provider.targets.weaviate.register import Register, State, is_generation, said_by
from airflow_reindex_provider.targets.weaviate.server import Server

ALIAS, GENERATION = "view", "generation"
"""The alias is what others know as a view. It stands for the register too, which goes with the last generation."""


def listed(server: Server) -> list[Marked]:
    """Public names first, then the generations that their registers name. A collection of a generation that its register does not
    name is stray where one of its siblings is live: a task was killed while it made it."""
    descriptions = server.descriptions()
    states = _states(descriptions)
    named = {name: state.stream for state in states.values() for name in state.generations}
    found = [Marked(ALIAS, state.stream, index) for index, state in states.items() if state.stream is not None]
    found += [Marked(GENERATION, stream, name) for name, stream in named.items() if stream is not None]
    live = set(server.aliases())
    for name, description in descriptions.items():
        index = name.rpartition("_")[0]
        state = states.get(index)
        if name in named or state is None or state.stream is None or not is_generation(description):
            continue
        if made_at(name) is not None:
            found.append(Marked(GENERATION, state.stream, name, None, index in live, made_at(name)))
    return found


def unmade(server: Server, target: WeaviateDefinition, marked: Marked) -> bool:
    """See ``MarkingTarget``. :param target: any index of this connection."""
    if not any((m.kind, m.stream, m.name) == (marked.kind, marked.stream, marked.name) for m in listed(server)):
        return False
    index = marked.name if marked.kind == ALIAS else marked.name.rpartition("_")[0]
    register = Register(server, replace(target, index=index))
    if marked.kind == ALIAS:
        server.drop_alias(index)
    elif not _dropped(server, register, index, marked):
        return False
    if not register.state().generations:
        register.remove()
    return True


def _dropped(server: Server, register: Register, index: str, marked: Marked) -> bool:
    def decide(state: State) -> State | None:
        if state.stream != marked.stream:
            return None
        if state.live != marked.name:
            return state.without(marked.name)
        server.drop_alias(index)
        return replace(state.without(marked.name), live=None)

    return register.change(decide, lambda: register.drop(marked.name))


def _states(descriptions: Mapping[str, str]) -> dict[str, State]:
    """By public name; which generation is live is not asked."""
    found = {}
    for name, description in descriptions.items():
        if name.endswith(REGISTER) and (state := said_by(description)) is not None:
            found[name.removesuffix(REGISTER)] = state
    return found
