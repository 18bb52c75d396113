from sari_data.prompting import render
from sari_data.types import DOMAINS


def render_card(manifest):
    from sari_data.hub import licence_id

    return (
        render("cards/corpus.md.jinja", manifest=manifest, licence=licence_id(manifest["licences"]), domains=DOMAINS)
        + "\n"
    )
