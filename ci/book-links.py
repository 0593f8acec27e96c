"""mdBook's preprocessor for the guide: links that a reader of the repository follows lead somewhere on the site too.

Links out of docs/ go to the repository's page of the file, and links to a folder's README.md to the index that mdBook makes of it.
"""

import json
import posixpath
import re
import sys

LINK = re.compile(r"(\]\()([^)\s#]+)((?:#[^)\s]*)?\))")


def rewritten(content: str, chapter: str, repository: str) -> str:
    folder = posixpath.dirname(chapter)

    def link(found: re.Match) -> str:
        target = found[2]
        if re.match(r"[a-z]+:", target):
            return found[0]
        path = posixpath.normpath(posixpath.join(folder, target))
        if path.startswith("../"):
            target = f"{repository}/blob/main/{path.removeprefix('../')}"
        elif posixpath.basename(path) == "README.md":
            target = posixpath.join(posixpath.dirname(target), "index.md")
        return found[1] + target + found[3]

    return LINK.sub(link, content)


def walk(items: list, repository: str) -> None:
    for item in items:
        chapter = item.get("Chapter") if isinstance(item, dict) else None
        if chapter:
            source = chapter.get("source_path") or chapter.get("path")
            if source:
                chapter["content"] = rewritten(chapter["content"], source, repository)
            walk(chapter["sub_items"], repository)


if __name__ == "__main__":
    if sys.argv[1:2] == ["supports"]:
        sys.exit(0)
    context, book = json.load(sys.stdin)
    repository = context["config"]["output"]["html"]["git-repository-url"]
    walk(book.get("items") or book.get("sections"), repository.rstrip("/"))
    json.dump(book, sys.stdout)
