"""Who asks: one authenticator a file, asked in kube-apiserver's order by ``chain.py``.

In: the headers and the verified certificates of a connection. Out: a ``User``, None where nobody said who they are (the
caller is anonymous), or a refusal (401). Source: Kubernetes' "Authenticating".
"""

from sampan.api.authn.chain import Authenticators as Authenticators
