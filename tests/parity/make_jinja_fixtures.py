#!/usr/bin/env python3
"""Makes the fixture of the template language: small templates and what Jinja2 makes of them.

    python3 tests/parity/make_jinja_fixtures.py

Needs jinja2 from PyPI. Writes tests/parity/jinja/cases.json: a list of {"template", "text"}, or of
{"template"} alone where Jinja2 fails. The language is set up as transformers sets it up for chat
templates; the variables are those of VARIABLES.
"""

import json
import pathlib

from jinja2.exceptions import TemplateError
from jinja2.sandbox import ImmutableSandboxedEnvironment

VARIABLES = {
    "text": "  Hello, world!\n", "word": "na\u00efve", "empty": "", "zero": 0, "seven": 7, "yes": True,
    "no": False, "nothing": None, "list": ["c", "a", "b"], "numbers": [3, 1, 2],
    "map": {"name": "boat", "length": 12, "items_": ["x", "y"]},
    "messages": [{"role": "system", "content": "S"}, {"role": "user", "content": "U1"},
                 {"role": "assistant", "content": "A1", "tool_calls": [{"name": "f"}]},
                 {"role": "user", "content": "U2"}],
}

WHITE_SPACE = [
    "a\n", "a\n\n", "\n", "a\r\nb\rc\n", "{% if yes %}\nx\n{% endif %}\ny", "  {% if yes %}\n  x\n  {% endif %}\n y",
    "a {% if yes %} b {% endif %} c", "a {%- if yes %} b {%- endif %} c", "a {% if yes -%} b {% endif -%} c",
    "a\n  {%- if yes -%}  \n b \n {%- endif -%} \n c", "  {%+ if yes %}\nx{% endif %}", "{% if yes +%}\nx{% endif %}",
    "\n\n  {{ zero }}\n\n", "x  {{- zero -}}  y", "x\n{{ zero }}\ny", "  {{ zero }}", "a {# c #} b",
    "  {# c #}\nb", "a\n  {#- c -#}\n b", "{# {{ zero }} {% if %} #}x", "a\n\t{% if yes %}\t\n\tb{% endif %}",
    "x {% if yes %}{% endif %}\n  {% if yes %}\n{% endif %}\n", "{{ '}}' }}{{ '%}' }}{{ \"{{\" }}",
    "{{ {'a': {'b': 1}}['a']['b'] }}", "a{b}c { { } }", "{{zero}}{{yes}}", "{%if yes%}x{%endif%}",
    "{%-if yes-%} x {%-endif-%}", "{% for x in list %}\n  {{ x }}\n{% endfor %}\nend", "1\n{% set a = 2 %}\n3",
    "line {% if no %}a{% elif zero %}b{% else %}\nc{% endif %}\n",
]

EXPRESSIONS = [
    "1 + 2 * 3 - 4", "7 // 2 ~ '/' ~ -7 // 2", "7 % 3, -7 % 3, 7 % -3", "-7 | string", "(1 + 2) * 3", "- - 2",
    "'a' + 'b' ~ 1 ~ true ~ none", "[1] + [2, 3] == [1, 2, 3]", "1 == true, 0 == false, '1' == 1, none == false",
    "1 < 2 and 'a' < 'b'", "1 < 2 or missing.x", "not yes, not no, not empty", "no or 'x'", "'' and 'x'",
    "yes if zero", "yes if zero else no", "1 if no else 2 if no else 3", "'a' in list, 'z' not in list, 'ell' in text",
    "'name' in map, 'nome' in map", "not 'a' in list", "list[0], list[-1], list[5]",
    "(list[1:] | join) ~ (list[:-1] | join) ~ (list[::-1] | join) ~ (list[::2] | join)",
    "word[0] ~ word[-1] ~ word[2] ~ word[1:3] ~ word[::-1] ~ word[-2:] ~ word[:100] ~ word[10:]",
    "map.name, map['name'], map['no'] is defined", "map.length", "messages[0].role ~ messages[-1]['content']",
    "{'a': 1, 'b': [2, {'c': none}]} | tojson", "[] | tojson", "{} | tojson(indent=2)", "[1, [2]] | tojson(indent=2)",
    "\"\\u00e9\\\"\\\\\\n\\t\\x01/<>&'\" | tojson", "map | tojson", "messages | tojson(indent=4)", "yes | tojson",
    "'a' 'b' \"c\"", "'it\\'s' ~ \"q\\\"q\" ~ '\\\\n' ~ '\\d'", "() | length, (1,) | length", "(1, 2) | join('+')",
    "missing is defined, missing is undefined, zero is defined, nothing is none, zero is none",
    "text is string, list is string, map is mapping, list is mapping, list is iterable, zero is iterable",
    "text is sequence, map is sequence, zero is sequence, seven is number, yes is number, yes is integer, seven is integer",
    "yes is boolean, seven is boolean, yes is true, seven is true, no is false, zero is false",
    "seven is odd, seven is even, seven is divisibleby 7, seven is divisibleby(2)", "seven is not odd",
    "1 is eq 1, 1 is equalto(2), 1 is ne 2, 1 is lt 2, 2 is gt(1), 2 is ge 2, 2 is le 1", "'a' is in list, 'z' is not in ['a']",
    "text | trim", "text | trim | length", "word | length, list | length, map | length, missing | length, list | count",
    "list | join, list | join(', '), [1, none, true] | join('-'), messages | join('/', attribute='role')",
    "'aBc dE' | upper, 'aBc dE' | lower, 'aBc dE' | title, 'aBc dE' | capitalize", "missing | default('x'), empty | default('x')",
    "empty | default('x', true), nothing | d('y', boolean=true), missing | d", "list | first, list | last, [] | first | default('none')",
    "'abc' | list | join('.'), map | list | join('.')", "'abcabc' | replace('b', 'XX'), 'aaa' | replace('a', '')",
    "7 | string ~ 'x', '12' | int + 1, 'x' | int, 'x' | int(5), yes | int", "list | reverse | join, 'abc' | reverse",
    "numbers | select('odd') | join(','), numbers | reject('eq', 1) | join(','), ['', 'x'] | select | join(',')",
    "messages | selectattr('role', 'equalto', 'user') | map(attribute='content') | join(',')",
    "messages | selectattr('tool_calls') | list | length, messages | rejectattr('tool_calls', 'defined') | list | length",
    "messages | map(attribute='tool_calls', default='-') | first", "list | map('upper') | join, numbers | map('string') | join('+')",
    "map | items | list | length, map.items() | list | length, map.keys() | join(','), map.get('name'), map.get('x'), map.get('x', 3)",
    "text.strip() ~ '|' ~ text.lstrip() ~ '|' ~ text.rstrip() ~ '|', 'xxaxx'.strip('x'), 'abcba'.strip('ab')",
    "'a,b,,c'.split(',') | join('|'), 'a b  c '.split() | join('|'), 'a,b,c'.split(',', 1) | join('|'), 'abc'.split('x') | length",
    "'a,b,c'.rsplit(',', 1) | join('|')", "text.startswith('  H'), text.endswith('x'), 'abc'.startswith(''), 'ab'.startswith(('x', 'a'))",
    "'abc'.replace('b', 'BB').upper().lower().title().capitalize()", "'-'.join(list), ''.join([])", "'abc'.replace('', '-')",
    "range(3) | join(','), range(1, 7, 2) | join(','), range(3, 0, -1) | join(','), range(0) | length",
    "'%' in 'a%', 'a' ~ 'b' | upper, ('a' ~ 'b') | upper", "-1 | string | length", "2 * 'a' if no else 'b'",
    "missing", "missing ~ 'x'", "nothing", "true, false, none, True, False, None", "'<' | safe", "[[1, 2], [3]] | length",
    "(list | first).upper()", "not (yes and no)", "1 != 2 and 2 >= 2 and 2 <= 3 and 3 > 2", "'\u00e9' == '\\u00e9'",
    "map.name.upper() ~ map['items_'][0]", "[{'a': {'b': 5}}] | map(attribute='a.b') | first",
]

STATEMENTS = [
    "{% for x in list %}{{ loop.index }}{{ loop.index0 }}{{ loop.revindex }}{{ loop.revindex0 }}{{ loop.first }}{{ loop.last }}{{ loop.length }}{{ x }};{% endfor %}",
    "{% for x in list %}{{ loop.previtem if not loop.first }}<{{ x }}>{{ loop.nextitem | default('-') }}{% endfor %}",
    "{% for k, v in map.items() %}{{ k }}={{ v | tojson }};{% endfor %}", "{% for k in map %}{{ k }};{% endfor %}",
    "{% for (a, b) in [[1, 2], (3, 4)] %}{{ a + b }};{% endfor %}", "{% for c in word %}{{ c }}.{% endfor %}",
    "{% for x in [] %}x{% else %}none{% endfor %}", "{% for x in missing %}x{% else %}none{% endfor %}",
    "{% for x in numbers if x > 1 %}{{ loop.index }}{{ x }}{{ loop.length }}{% endfor %}",
    "{% for x in list %}{% for y in list %}{{ loop.index }}{% endfor %}{{ loop.index }};{% endfor %}",
    "{% for x in list %}{% if x == 'a' %}{% continue %}{% endif %}{{ x }}{% endfor %}",
    "{% for x in list %}{% if x == 'a' %}{% break %}{% endif %}{{ x }}{% endfor %}",
    "{% for x in list %}{% break %}{% else %}none{% endfor %}{% for x in list %}{% continue %}{% else %}none{% endfor %}",
    "{% for x in list %}{% if x == 'a' %}{% break %}{% endif %}{% else %}none{% endfor %}",
    "{% set a = 1 %}{% for x in list %}{{ a }}{% set a = a + 1 %}{{ a }}{% endfor %}{{ a }}",
    "{% set ns = namespace(a=1, b='x') %}{% for x in list %}{% set ns.a = ns.a + 1 %}{% endfor %}{{ ns.a }}{{ ns.b }}{{ ns.c is defined }}",
    "{% set a, b = 1, 2 %}{{ a }}{{ b }}", "{% set a = 1, 2 %}{{ a | join(',') }}", "{% if yes %}{% set a = 1 %}{% endif %}{{ a }}",
    "{% set a %}x{{ zero }}{% endset %}{{ a }}{{ a | length }}", "{% set x = 'outer' %}{% for x in list %}{{ x }}{% endfor %}{{ x }}",
    "{% macro m(a, b='B', c=a) %}[{{ a }}{{ b }}{{ c }}]{% endmacro %}{{ m(1) }}{{ m(1, 2) }}{{ m(a=1, c='C') }}{{ m() }}",
    "{% macro m(x) %}{{ x }}{{ map.name }}{% if x > 0 %}{{ m(x - 1) }}{% endif %}{% endmacro %}{{ m(3) | lower | length }}",
    "{% macro m() %}{{ later }}{% endmacro %}{% set later = 5 %}{{ m() }}",
    "{% generation %}a{% endgeneration %}b", "{% if no %}{{ missing.x.y }}{% endif %}ok",
    "{% for m in messages[1:] %}{% if (m.role == 'user') != (loop.index0 % 2 == 0) %}bad{% endif %}{% endfor %}ok",
    "{% for x in list %}{% if loop.last %}{{ x }}{% endif %}{% endfor %}", "{% if zero %}a{% elif empty %}b{% elif list %}c{% else %}d{% endif %}",
]

FAILURES = [
    "{{ missing.x }}", "{{ missing[0] }}", "{{ 'a' + 1 }}", "{{ 'a' + none }}", "{{ 'a' + missing }}", "{{ 1 // 0 }}", "{{ 'a' < 1 }}",
    "{{ missing() }}", "{{ 'a'() }}", "{% if x", "{{ 'a }}", "{% for x in list %}", "{% endfor %}", "{% if yes %}{% endfor %}",
    "{{ 1 + }}", "{{ (1 }}", "{{ [1 }}", "{{ | trim }}", "{{ text | nofilter }}", "{{ text is notest }}", "{% unknown %}",
    "{% for x in 5 %}{% endfor %}", "{% for x in none %}{% endfor %}", "{% for a, b in list %}{% endfor %}", "{{ none | length }}",
    "{% set a.b = 1 %}", "{{ raise_exception('no') }}", "{# a", "{{ }}", "{{ 5 in 5 }}", "{{ ['a'].append('b') }}", "{{ 'a' is in 5 }}",
    "{{ @ }}", "{% macro m(a) %}{% endmacro %}{{ m(1, 2) }}", "{% set %}", "{{ list[0:1:0] }}", "{{ -'a' }}",
]


def main():
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"])

    def to_json(value, indent=None):
        return json.dumps(value, ensure_ascii=False, indent=indent)

    def raise_exception(message):
        raise TemplateError(message)

    environment.filters["tojson"] = to_json
    environment.globals["raise_exception"] = raise_exception
    templates = WHITE_SPACE + STATEMENTS + FAILURES
    for expression in EXPRESSIONS:
        # Several with commas are a list, whose parts are written one by one.
        templates.append("{% for x in (" + expression + ",) %}<{{ x }}>{% endfor %}")
    cases = []
    for template in templates:
        case = {"template": template}
        try:
            known = template.replace("{% generation %}", "").replace("{% endgeneration %}", "")
            case["text"] = environment.from_string(known).render(**VARIABLES)
        except Exception as error:  # of Python's kinds too
            assert template in FAILURES, (template, error)
        else:
            assert template not in FAILURES, template
        cases.append(case)
    folder = pathlib.Path(__file__).parent / "jinja"
    folder.mkdir(exist_ok=True)
    document = {"variables": VARIABLES, "cases": cases}
    (folder / "cases.json").write_text(json.dumps(document, indent=0) + "\n")
    print(len(cases), "cases")


if __name__ == "__main__":
    main()
