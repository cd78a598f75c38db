import gc, contextlib, pytest
from tests.compat.peer import Peer
@pytest.mark.parametrize("mode",["client","worker","both", "noenq"])
def test_x(cluster, tmp_path, mode):
    queues = {"a": 1, "b": 1, "c": 1, "d": 1}
    with contextlib.closing(Peer(cluster.addrs, tmp_path)) as peer:
        if mode != "noenq":
          for q in queues:
            peer.client.enqueue("ok", task_id="1", queue=q)
        if mode != "client":
            with peer.working(queues, scheduler={"enabled": mode!="worker"}):
                if mode != "noenq":
                    peer.journal.wait_count("end",1)
                    import time; time.sleep(0.5)
    gc.collect()
