"""The sites are imported by the checks alone: some frameworks can be set up once a process only."""

collect_ignore_glob = ["*_site.py", "served_app.py"]
