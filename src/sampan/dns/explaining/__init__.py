"""Why a pod gets the answer it gets: ``why.py`` makes its search, ``world.py`` knows the objects behind each answer."""
