"""The least that the engine needs of an orchestrator: takes update files, closes a round when all have come
or at its deadline, and says who is in it. The deadline is the orchestrator's rule; who misses two rounds is
waited for no longer.

    python coordinator.py PORT BYTES WORKERS        BYTES: size of an update file
"""

import asyncio
import sys
import time

import uvicorn
from pi_orchestrator.state import RECENT_ROUNDS, usual_window
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from training import node


class Coordinator:
    def __init__(self, size: int, nodes: list[str]):
        self.size, self.missed = size, dict.fromkeys(nodes, 0)
        self.rounds: list[dict[str, bytes]] = []
        """Update files by node."""
        self.closed = asyncio.Condition()
        self.took: dict[str, list[float]] = {name: [] for name in nodes}
        """Seconds from each round's opening to the node's update, or to the round's end."""
        self._open()

    def _open(self) -> None:
        self.opened = time.monotonic()
        self.rounds.append({})

    def _window(self) -> float:
        """Seconds that the round stays open at most."""
        return usual_window(
            [took[-RECENT_ROUNDS:] for name, took in self.took.items() if self.missed[name] < 2]
        )

    async def _close(self) -> None:
        for name, missed in self.missed.items():
            self.missed[name] = 0 if name in self.rounds[-1] else missed + 1
            if self.missed[name]:
                self.took[name].append(time.monotonic() - self.opened)
        self._open()
        self.timer = asyncio.create_task(self._close_after(self._window(), len(self.rounds) - 1))
        async with self.closed:
            self.closed.notify_all()

    async def _close_after(self, window: float, number: int) -> None:
        await asyncio.sleep(window)
        while number == len(self.rounds) - 1:
            if self.rounds[number]:
                await self._close()
            await asyncio.sleep(0.1)  # nobody was in time: it ends with whoever comes first

    async def put(self, request: Request) -> Response:
        number, name = request.path_params["number"], request.path_params["node"]
        data = b""
        async for chunk in request.stream():
            data += chunk
            if len(data) > self.size:
                return Response("too large", 413)
        if number != len(self.rounds) - 1 or name not in self.missed:
            return Response("not this round", 409)
        self.rounds[number][name] = data
        self.took[name].append(time.monotonic() - self.opened)
        if all(n in self.rounds[number] for n, missed in self.missed.items() if missed < 2):
            await self._close()
        return Response()

    async def included(self, request: Request) -> Response:
        number = request.path_params["number"]
        async with self.closed:
            await self.closed.wait_for(lambda: number < len(self.rounds) - 1)
        return JSONResponse(sorted(self.rounds[number]))

    async def get(self, request: Request) -> Response:
        return Response(self.rounds[request.path_params["number"]][request.path_params["node"]])


def main(port: int, size: int, nodes: list[str]) -> None:
    coordinator = Coordinator(size, nodes)
    routes = [
        Route("/{number:int}", coordinator.included),
        Route("/{number:int}/{node}", coordinator.put, methods=["PUT"]),
        Route("/{number:int}/{node}", coordinator.get),
    ]
    uvicorn.run(Starlette(routes=routes), host="127.0.0.1", port=port, log_level="warning")


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), [node(i) for i in range(int(sys.argv[3]))])
