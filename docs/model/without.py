#!/usr/bin/env python3
"""Leaves fields and checks out of a model and asks Verifpal what breaks: without.py [WORD...]

One line for each: what was left out, and the queries that fail then. With words, only the lines that have one
of them. It needs `verifpal` in PATH, and takes half a minute to a minute for each line.
"""

import re
import subprocess
import sys
import tempfile
from pathlib import Path

FOLDER = Path(__file__).parent

# What takes the place of a pattern.
AID = (r"CONCAT\(aid\w*, (cb\d)\)", r"CONCAT(nil, \1)")
CB = (r"CONCAT\((aid\w*|nil), cb\d\)", r"CONCAT(\1, nil)")
XS = (r"HKDF\(xs\d,", "HKDF(nil,")
HOSTS = (r"CONCAT\(host_\w, host_\w\)", "CONCAT(nil, nil)")
DOMAINS = (r"CONCAT\(domain_\w, domain_\w\), CONCAT\(HASH", "CONCAT(nil, nil), CONCAT(HASH")
LEAVES = (r"CONCAT\(HASH\(leaf_\w+\), HASH\(leaf_\w+\)\)", "CONCAT(nil, nil)")
KEM = (r"CONCAT\((nil), (h_kem\w*|nil), (\w+), (\w+)\)", r"CONCAT(nil, nil, \3, \4)")
SUITES = (r", (hpke|oaep), (hpke|oaep)\)", ", nil, nil)")
LABELS = (r"\t_ = ASSERT\(label.*\n", "")
SIG_I = (r"\t_ = SIGNVERIF\(leaf_\w+, m1.*\n", "")
SIG_R = (r"\t_ = SIGNVERIF\(leaf_\w+, m2.*\n", "")
CONF_R = (r"ASSERT\(MAC\(k_conf_r\w*, th2\w*\), (conf_r\w*)\)\?", r"HASH(\1)")
CONF_I = (r"ASSERT\(MAC\(k_conf_i\w*, th2\w*\), (conf_i\w*)\)\?", r"HASH(\1)")
CT_I = (r"CONCAT\(request, (ctx\w*), ct_i\w*\)", r"CONCAT(request, \1)")
CT_R = (r"CONCAT\(response, (th1\w*), ct_r\w*\)", r"CONCAT(response, \1)")
TH1 = (r"CONCAT\(response, th1\w*, ", "CONCAT(response, nil, ")
TH2 = (r"(HKDF\(.*), th2\w*\)", r"\1, nil)")
K_I = (r"CONCAT\(k_i\w*, (k_r\w*)\), (th2|nil)", r"\1, \2")
K_R = (r"CONCAT\((k_i\w*), k_r\w*\), (th2|nil)", r"\1, \2")
KEM_SIGNATURE = (r"\t_ = SIGNVERIF\(leaf_s, CONCAT\(CONCAT\(kem_key.*\n", "")
# Everybody's keys become known when all is over.
STOLEN = (r"\nqueries", "\nphase[1]\nprincipal Pessoa[\n\tleaks sk_p\n]\nprincipal Saramago[\n\tleaks sk_s, kem_sk_s\n]\nqueries")
ACTIVATION = {
    "nothing": [],
    "aid": [AID],
    "cb": [CB],
    "xs": [XS],
    "host_I, host_R": [HOSTS],
    "domain_I, domain_R": [DOMAINS],
    "H(leaf_I), H(leaf_R)": [LEAVES],
    "H(kem_I), H(kem_R)": [KEM],
    "suite_I, suite_R": [SUITES],
    "the labels": [LABELS],
    "sig_I": [SIG_I],
    "sig_R": [SIG_R],
    "conf_R": [CONF_R],
    "conf_I": [CONF_I],
    "ct_I in m1": [CT_I],
    "ct_R in m2": [CT_R],
    "th1 in m2": [TH1],
    "th2 in k(l)": [TH2],
    "K_I in prk": [K_I],
    "K_R in prk": [K_R],
    "the KEM key's signature": [KEM_SIGNATURE],
    "sig_I, K_R in prk": [SIG_I, K_R],
    "sig_R, conf_R": [SIG_R, CONF_R],
    "conf_I, sig_I": [CONF_I, SIG_I],
    "conf_I, cb": [CONF_I, CB],
    "conf_I, host_I, host_R": [CONF_I, HOSTS],
    "conf_I, cb, host_I, host_R": [CONF_I, CB, HOSTS],
    "conf_I, cb, domain_I, domain_R": [CONF_I, CB, DOMAINS],
    "nothing, keys stolen later": [STOLEN],
    "xs, keys stolen later": [STOLEN, XS],
    "cb, xs, keys stolen later": [STOLEN, CB, XS],
}


CB_NEW = (r"cb\d, (host|nil)", r"nil, \1")
HOSTS_NEW = (r"host_\w, host_\w, rid", "nil, nil, rid")
TAG_2 = (r"CONCAT\(resume_2, CONCAT\((.*), rid\), tag_1\)", r"CONCAT(resume_1, \1, rid)")
RESUMPTION = {
    "nothing": [],
    "cb'": [CB_NEW],
    "host_dialler, host_other": [HOSTS_NEW],
    "cb', host_dialler, host_other": [CB_NEW, HOSTS_NEW],
    "what makes tag_2 another than tag_1": [TAG_2],
}


def failures(model, changes):
    queries = re.findall(r"^\t\w+\? .*$", model.split("queries[")[1], re.M)
    for pattern, other in changes:
        model, count = re.subn(pattern, other, model)
        assert count, f"nothing is left out by {pattern}"
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "without.vp")
        path.write_text(model)
        command = ["verifpal", "verify", "--sessions", "1", "--result-code", path]
        output = subprocess.run(command, capture_output=True, text=True).stdout
    code = output.strip().rpartition("\n")[2].strip()
    if not re.fullmatch(r"([a-z][01])+", code):
        return ["?", output[-600:]]
    return [query.strip() for query, verdict in zip(queries, code[1::2]) if verdict == "1"]


for file, lines in {"activation.vp": ACTIVATION, "resumption.vp": RESUMPTION}.items():
    for name, changes in lines.items():
        if not sys.argv[1:] or any(word in name for word in sys.argv[1:]):
            broken = failures((FOLDER / file).read_text(), changes)
            print(f"{file} without {name}: {'; '.join(broken) or 'all pass'}", flush=True)
