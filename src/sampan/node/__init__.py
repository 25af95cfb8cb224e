"""The kubelet: pods of this node through CRI."""
