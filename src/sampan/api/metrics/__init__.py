"""What ``/metrics`` shows: counts kept while requests are served, and what is asked for when somebody looks.

Names and labels are Kubernetes'. ``requests.py`` counts; ``exposition.py`` writes Prometheus' text format.
"""
