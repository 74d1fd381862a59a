"""A lighter mesh made of a subset of the original vertices, so that every blend shape carries over; mirror-symmetric
and closed.

Half-edge collapses ordered by quadric error (Garland & Heckbert, "Surface simplification using quadric error metrics",
SIGGRAPH 1997) plus a small price on long edges, which keeps smooth limbs from becoming too coarse to bend.
"""

import heapq
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.spatial import KDTree

# Weighs evenness against fidelity; at 0 the back and thighs lose nearly all their vertices, at 0.05 ears and fingers
# dissolve.
EVENNESS = 4e-3
# A collapse may not turn a triangle by more than this (cosine), or it folds.
LEAST_NORMAL_AGREEMENT = 0.35


@dataclass(frozen=True)
class LightMesh:
    """``kept``: indices of the original vertices; ``triangles`` index into ``kept``; ``mirror``: each kept vertex's
    partner across x = 0.
    """

    kept: Int[np.ndarray, " kept"]
    triangles: Int[np.ndarray, "face 3"]
    mirror: Int[np.ndarray, " kept"]


def triangulated(quads: Int[np.ndarray, "quad 4"]) -> Int[np.ndarray, "face 3"]:
    return np.concatenate([quads[:, [0, 1, 2]], quads[:, [0, 2, 3]]])


def mirror_partners(
    points: Float[np.ndarray, "vertex 3"],
) -> Int[np.ndarray, " vertex"]:
    """The vertex at the mirrored place. The base mesh is symmetric to the last bit."""
    found = KDTree(points).query(points * np.array([-1.0, 1.0, 1.0]))
    distance, partner = np.asarray(found[0]), np.asarray(found[1])
    if distance.max() > 1e-6 or not np.array_equal(partner[partner], np.arange(len(points))):
        raise ValueError(
            f"the mesh is not mirror-symmetric: a vertex is {distance.max():.2g} m from its partner's place"
        )
    return partner


def boundary_loops(triangles: Int[np.ndarray, "face 3"]) -> list[list[int]]:
    """Closed chains of vertices around the holes, running as the missing faces would."""
    edges = {(int(a), int(b)) for face in triangles for a, b in zip(face, np.roll(face, -1), strict=True)}
    following = {b: a for a, b in edges if (b, a) not in edges}
    loops = []
    while following:
        start, current = following.popitem()
        loop = [start]
        while current != start:
            loop.append(current)
            current = following.pop(current)
        loops.append(loop)
    return loops


def fill_hole(loop: list[int], points: Float[np.ndarray, "vertex 3"]) -> list[tuple[int, int, int]]:
    """Triangles over a hole without new vertices: a strip zipped across the loop's longer axis, as eyelids and lips
    close.
    """
    ring = points[loop]
    spread = np.linalg.svd(ring - ring.mean(0), full_matrices=False)[2][0]
    first = int(np.argmin(ring @ spread))
    loop = loop[first:] + loop[:first]
    faces = []
    low, high = 0, len(loop) - 1
    while high - low > 1:
        step_low = np.linalg.norm(points[loop[low + 1]] - points[loop[high]])
        step_high = np.linalg.norm(points[loop[low]] - points[loop[high - 1]])
        if step_low < step_high:
            faces.append((loop[low], loop[low + 1], loop[high]))
            low += 1
        else:
            faces.append((loop[low], loop[high - 1], loop[high]))
            high -= 1
    return faces


def collapse_half(
    points: Float[np.ndarray, "vertex 3"],
    triangles: Int[np.ndarray, "face 3"],
    importance: Float[np.ndarray, " vertex"],
    locked: Bool[np.ndarray, " vertex"],
    remove: int,
) -> Int[np.ndarray, "left 3"]:
    """Remove ``remove`` vertices by half-edge collapses; locked vertices stay."""
    faces: list[tuple[int, int, int] | None] = [tuple(int(v) for v in face) for face in triangles]  # type: ignore[misc]
    around: dict[int, set[int]] = {}
    quadric = np.zeros((len(points), 4, 4))
    area = np.zeros(len(points))
    for index, (a, b, c) in enumerate(triangles):
        normal = np.cross(points[b] - points[a], points[c] - points[a])
        size = np.linalg.norm(normal)
        plane = np.append(normal, -normal @ points[a]) / size
        for v in (int(a), int(b), int(c)):
            around.setdefault(v, set()).add(index)
            quadric[v] += np.outer(plane, plane) * (size / 6.0) * importance[v]
            area[v] += size / 6.0 * importance[v]
    stamp = np.zeros(len(points), dtype=int)

    def ring(v: int) -> set[int]:
        return {u for index in around[v] for u in faces[index] or () if u != v}

    def price(v: int, u: int) -> float:
        place = np.append(points[u], 1.0)
        length = float(np.sum((points[u] - points[v]) ** 2))
        return float(place @ (quadric[v] + quadric[u]) @ place) + EVENNESS * length * (area[v] + area[u])

    def push(v: int) -> None:
        if locked[v] or v not in around:
            return
        for u in ring(v):
            heapq.heappush(heap, (price(v, u), v, u, int(stamp[v]), int(stamp[u])))

    def allowed(v: int, u: int) -> bool:
        common = ring(v) & ring(u)
        if len(common) != 2:
            return False
        for index in around[v]:
            face = faces[index]
            assert face is not None
            if u in face:
                continue
            old = points[list(face)]
            new = points[[u if corner == v else corner for corner in face]]
            before = np.cross(old[1] - old[0], old[2] - old[0])
            after = np.cross(new[1] - new[0], new[2] - new[0])
            scale = np.linalg.norm(before) * np.linalg.norm(after)
            if scale < 1e-16 or before @ after < LEAST_NORMAL_AGREEMENT * scale:
                return False
            edges = np.linalg.norm(new - np.roll(new, 1, axis=0), axis=1)
            # A sliver: its height is below a twentieth of its longest edge.
            if np.linalg.norm(after) < 0.05 * edges.max() ** 2:
                return False
        return True

    heap: list[tuple[float, int, int, int, int]] = []
    for v in list(around):
        push(v)
    while remove > 0 and heap:
        _, v, u, stamp_v, stamp_u = heapq.heappop(heap)
        if v not in around or u not in around or stamp[v] != stamp_v or stamp[u] != stamp_u or not allowed(v, u):
            continue
        for index in around.pop(v):
            face = faces[index]
            assert face is not None
            if u in face:
                faces[index] = None
                for corner in face:
                    if corner != v:
                        around[corner].discard(index)
            else:
                faces[index] = tuple(u if corner == v else corner for corner in face)  # type: ignore[assignment]
                around[u].add(index)
        quadric[u] += quadric[v]
        area[u] += area[v]
        remove -= 1
        touched = ring(u) | {u}
        for corner in touched:
            stamp[corner] += 1
        for corner in touched:
            push(corner)
        for corner in {far for near in touched for far in ring(near)} - touched:
            push(corner)
    return np.array([face for face in faces if face is not None])


def lighten(
    base: Float[np.ndarray, "vertex 3"],
    shape: Float[np.ndarray, "vertex 3"],
    quads: Int[np.ndarray, "quad 4"],
    cavity: Bool[np.ndarray, " quad"],
    importance: Float[np.ndarray, " vertex"],
    target: int,
) -> LightMesh:
    """About ``target`` vertices of the closed skin, mouth and eye cavities shut.

    Args:
        base: the source's template, whose mirror symmetry is exact.
        shape: the surface whose form is to be kept (the mean T-pose).
        cavity: quads to drop; their rims are filled.
        importance: weight of each vertex's quadric.
    """
    partner = mirror_partners(base)
    middle = partner == np.arange(len(base))
    triangles = triangulated(quads[~cavity])
    half = triangles[np.all((base[triangles, 0] > 0) | middle[triangles], axis=1)]
    rims = {v for loop in boundary_loops(half) for v in loop}
    locked = middle.copy()
    locked[list(rims)] = True
    present = len(np.unique(triangles))
    half = collapse_half(shape, half, importance, locked, max(0, (present - target) // 2))
    whole = np.concatenate([half, partner[half][:, ::-1]])
    filled = [face for loop in boundary_loops(whole) for face in fill_hole(loop, shape)]
    whole = np.concatenate([whole, np.array(filled, dtype=whole.dtype).reshape(-1, 3)])
    kept = np.unique(whole)
    place = np.full(len(base), -1)
    place[kept] = np.arange(len(kept))
    return LightMesh(kept=kept, triangles=place[whole], mirror=place[partner[kept]])
