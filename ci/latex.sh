#!/usr/bin/env bash
# Sets every table of a report in one document: article on A4 with margins of 2.5 cm. Fails when one is wider than the page.
# Usage: ci/latex.sh TABLES-FOLDER [DOCUMENT.pdf]
set -euo pipefail
tables=$(cd "$1" && pwd)
keep=${2:+$(realpath -m "$2")}

command -v pdflatex >/dev/null || apt-get install -y --no-install-recommends texlive-latex-base texlive-latex-recommended

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
{
    printf '%s\n' '\documentclass[10pt,a4paper]{article}' '\usepackage[margin=2.5cm]{geometry}' \
        '\usepackage[T1]{fontenc}' '\usepackage[utf8]{inputenc}' '\usepackage{booktabs,rotating,longtable,pdflscape}' \
        '\begin{document}'
    for table in "$tables"/*.tex; do
        printf '\\typeout{== %s}\n\\input{%s}\n\\clearpage\n' "$(basename "$table")" "$table"
    done
    printf '%s\n' '\end{document}'
} >"$folder/document.tex"
# Twice, since longtable settles its columns in the second pass.
for _ in 1 2; do
    if ! (cd "$folder" && pdflatex -interaction=nonstopmode -halt-on-error document.tex >out.txt 2>&1); then
        tail -n 30 "$folder/out.txt"
        exit 1
    fi
done
if [ -n "$keep" ]; then cp "$folder/document.pdf" "$keep"; fi
grep -E '^==|^Overfull|too large' "$folder/document.log" || true
if grep -E '^Overfull|too large' "$folder/document.log" >/dev/null; then
    echo "a table is larger than the page"
    exit 1
fi
echo "all $(ls "$tables"/*.tex | wc -l) tables fit the page"
