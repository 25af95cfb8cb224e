"""Tells the backend where a client is, by a table of address ranges: start,end,country."""

import bisect
import csv
import ipaddress
from pathlib import Path


def make(settings):
    with (Path(__file__).parent / settings["table"]).open() as file:
        rows = [row for row in csv.reader(file) if row and not row[0].startswith("#")]
    ranges = {4: [], 6: []}
    for first, last, country in rows:
        start = ipaddress.ip_address(first)
        ranges[start.version].append((int(start), int(ipaddress.ip_address(last)), country))
    for entries in ranges.values():
        entries.sort()

    def country_of(text):
        try:
            address = ipaddress.ip_address(text)
        except ValueError:
            return settings["unknown"]
        entries, number = ranges[address.version], int(address)
        place = bisect.bisect(entries, (number, float("inf"))) - 1
        if place >= 0 and entries[place][1] >= number:
            return entries[place][2]
        return settings["unknown"]

    def request(request):
        # the client's own header must not pass for ours: it is always written
        request.headers[settings["header"]] = country_of(request.client)

    return request
