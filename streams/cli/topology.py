"""`sightline topology`: draw the stages, the topics between them and the loop."""

from __future__ import annotations

import click

from streams import topology
from streams.cli.output import emit_json, json_option
from streams.printing import say


@click.command("topology")
@json_option
def command(as_json: bool) -> None:
    """Draw the stages and the topics between them."""
    if as_json:
        emit_json(
            {
                "stages": [
                    {"name": s.name, "agent": s.agent, "reads": s.reads, "writes": s.writes}
                    for s in topology.STAGES
                ],
                "topics": [
                    {"name": t.name, "key": t.key, "cleanup": t.cleanup, "single": t.single, "holds": t.holds}
                    for t in topology.TOPICS
                ],
                "feedback_edges": topology.FEEDBACK_EDGES,
                "side_topics": topology.SIDE_TOPICS,
            }
        )
        return
    for line in picture():
        say(line)


def picture() -> list[str]:
    """Lines of the drawing."""
    lines: list[str] = []
    width = max(len(stage.name) for stage in topology.STAGES) + 2
    agent: str | None = None
    for stage in topology.STAGES:
        if stage.agent != agent or stage.agent is None:
            agent = stage.agent
            source = topology.AGENTS[agent] if agent else ", ".join(stage.reads)
            lines += [
                "",
                f"{source} ──► " + (f"agent {agent}: one transaction a fetch" if agent else "one writer"),
            ]
        beside = [name for name in stage.reads if agent and name != topology.AGENTS[agent]]
        text = f"    [{stage.name}]".ljust(width + 5)
        if stage.writes:
            text += f" ──► {', '.join(stage.writes)}"
        elif not agent:
            text += " ──► hot.duckdb ──► epochs (Parquet) + catalog.duckdb ──► ask, sql"
        lines.append(text + (f"   (reads {', '.join(beside)})" if beside else ""))
    lines += ["", f"every stage ──► {', '.join(topology.SIDE_TOPICS)}", "", "the loop closes:"]
    lines += [f"    {origin} ──► {target}" for origin, target in topology.FEEDBACK_EDGES]
    name_width = max(len(topic.name) for topic in topology.TOPICS)
    key_width = max(len(topic.key) for topic in topology.TOPICS)
    lines += ["", f"{'topic'.ljust(name_width)}  {'key'.ljust(key_width)}  cleanup  holds"]
    lines += [
        f"{t.name.ljust(name_width)}  {t.key.ljust(key_width)}  {t.cleanup.ljust(7)}  {t.holds}"
        for t in topology.TOPICS
    ]
    return lines[1:]
