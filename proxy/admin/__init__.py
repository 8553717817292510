"""Health, metrics and the status page, on a port of their own.

    server.py       the pages, who may ask for them, and how they are sent
    connections.py  who may hold a connection, and for how long
    making.py       how pages are made: beside the traffic, and not more often than is worth it
    sources.py      where the numbers come from, and what they are at one moment
    overviews.py    all shops in the order of their trouble
    own_process.py  what the system says of this process
    readiness.py    whether requests are welcome, and whether a shop could be served
    exposition.py   the numbers as Prometheus reads them
    report.py       the shops' numbers for people and as JSON: trouble first
    page.py         the report as HTML
    rows.py         one shop on it
    codes.py        what the codes mean
    chart.py        the calls of the last minutes as a small picture
    negotiation.py  HTML or JSON, packed or not

Rules: nothing can be changed here, and no page holds a secret, so that it needs no password; what an endpoint said is
shown as the log shows it, without secrets. Asking causes no request to anybody.
"""
