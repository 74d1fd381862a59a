"""What the network reads, one frame at a time: ``networks.features`` as loops."""

import math

import numpy as np

from refit_mv.kernels.compiling import compiled
from refit_mv.kernels.retraction import shorten

# The robust scales (metres at the body) that ask how much of the evidence is near.
NEAR_SCALES = (0.005, 0.015, 0.04, 0.12)
STATISTICS, LANDMARK, STREAM, OBSERVATION = 21, 15, 16, 14


@compiled
def _symmetric_six_into(root, a, scale, shift, out):
    """``rootᵀ A root`` of a symmetric A: diagonal, then what stands above it."""
    at = 3
    for r in range(3):
        for c in range(r, 3):
            value = 0.0
            for i in range(3):
                for j in range(3):
                    value += root[i, r] * a[i, j] * root[j, c]
            value = value * scale + shift
            if r == c:
                out[r] = value
            else:
                out[at] = value
                at += 1


@compiled
def _statistics_frame(confidence, residual, toward, distance, root, out, log_size, information):
    """``features.statistics`` of one frame; the last two are scratch."""
    views, landmarks = confidence.shape
    trust = count = mean = mean_log = 0.0
    g0 = g1 = g2 = r0 = r1 = r2 = r3 = 0.0
    information[:] = 0
    for v in range(views):
        for k in range(landmarks):
            c = confidence[v, k]
            if c > 0:
                x, y, z = residual[v, k, 0], residual[v, k, 1], residual[v, k, 2]
                squared = x * x + y * y + z * z
                size = math.log(math.sqrt(squared) + 1e-3)
                log_size[v, k] = size
                trust += c
                count += 1
                mean += c * size
                mean_log += math.log(max(c, 1e-3))
                k0 = 1 + squared / (NEAR_SCALES[0] * NEAR_SCALES[0])
                k1 = 1 + squared / (NEAR_SCALES[1] * NEAR_SCALES[1])
                k2 = 1 + squared / (NEAR_SCALES[2] * NEAR_SCALES[2])
                k3 = 1 + squared / (NEAR_SCALES[3] * NEAR_SCALES[3])
                r0 += c / (k0 * k0)
                r1 += c / (k1 * k1)
                r2 += c / (k2 * k2)
                r3 += c / (k3 * k3)
                x, y, z = toward[v, k, 0], toward[v, k, 1], toward[v, k, 2]
                g0 += c * x
                g1 += c * y
                g2 += c * z
                information[0, 0] += c * (1 - x * x)
                information[1, 1] += c * (1 - y * y)
                information[2, 2] += c * (1 - z * z)
                information[0, 1] -= c * x * y
                information[0, 2] -= c * x * z
                information[1, 2] -= c * y * z
    information[1, 0], information[2, 0], information[2, 1] = information[0, 1], information[0, 2], information[1, 2]
    share, each = 1 / max(trust, 1e-6), 1 / max(count, 1e-6)
    mean, mean_log = mean * share, mean_log * each
    spread = spread_log = far = some = good = 0.0
    for v in range(views):
        seen = 0
        for k in range(landmarks):
            c = confidence[v, k]
            if c > 0:
                seen += 1
                spread += c * (log_size[v, k] - mean) * (log_size[v, k] - mean)
                off = math.log(max(c, 1e-3)) - mean_log
                spread_log += off * off
        if seen > 0:
            some += 1
            far += math.log(max(distance[v], 0.3))
        if seen >= 3:
            good += 1
    points = 0.0
    for k in range(landmarks):
        for v in range(views):
            if confidence[v, k] > 0:
                points += 1
                break
    out[0], out[1] = 0.5 * mean + 2, math.sqrt(spread * share)
    out[2], out[3], out[4], out[5] = r0 * share, r1 * share, r2 * share, r3 * share
    out[6], out[7] = mean_log, math.sqrt(spread_log * each)
    out[8], out[9] = math.log1p(good), 1 / max(good, 1.0)
    out[10], out[11] = math.log1p(points) - 3, far / max(some, 1e-6) - 1.2
    _symmetric_six_into(root, information, share, -0.6, out[12:18])
    for c in range(3):
        out[18 + c] = (root[0, c] * g0 + root[1, c] * g1 + root[2, c] * g2) * share


@compiled
def statistics_frames(confidence, residual, toward, gain, distance, position, rotations):
    """``features._statistics``."""
    frames, views, landmarks = confidence.shape
    out = np.empty((frames, STATISTICS), residual.dtype)
    log_size, information = np.empty((views, landmarks)), np.empty((3, 3))
    for f in range(frames):
        _statistics_frame(
            confidence[f], residual[f], toward[f], distance[f], rotations[f, 0], out[f], log_size, information
        )  # fmt: skip
    return out


@compiled
def _landmarks_frame(root, pelvis, position, information, pull, weight, confidence, noise, out):
    """What is known of every landmark, views fused, in the root's frame."""
    views, landmarks = confidence.shape
    for k in range(landmarks):
        total = base = seen = 0.0
        for v in range(views):
            total += weight[v, k]
            base += confidence[v, k] / (noise * noise)
            seen += confidence[v, k] > 0
        a = information[k]
        trace = a[0, 0] + a[1, 1] + a[2, 2]
        soft = -20 / (trace / 2 + 100.0)
        for c in range(3):
            place = correction = 0.0
            for r in range(3):
                place += root[r, c] * (position[k, r] - pelvis[r])
                correction += root[r, c] * pull[k, r]
            out[k, c] = place
            out[k, 3 + c] = math.asinh(soft * correction)
        _symmetric_six_into(root, a, 1 / (trace + 100.0), 0.0, out[k, 6:12])
        out[k, 12] = math.log1p(total) / 8
        out[k, 13] = total / max(base, 1.0)
        out[k, 14] = math.log1p(seen)


@compiled
def iteration_frames(
    joint, present, pooling, mirror, with_shape, limits, noise, typical_bone, step, diagonal, gradient, weight,
    information, pull, confidence, residual, toward, gain, distance, position, pelvis, rotations, shape, tangent, bone,
    slope,
):  # fmt: skip
    """``features._iteration``: streams, landmarks, context, the shortened step, the mean viewing direction. Flat
    arguments, in the order of its records: their loops are vectorised in the same way whoever calls.
    """
    frames, views, landmarks = confidence.shape
    joints, streams, bones = rotations.shape[1], len(joint), bone.shape[1]
    kind, last = step.dtype, 3 + 3 * rotations.shape[1]
    first_bone = 6 * streams
    first_statistic = first_bone + 2 * bones
    stream = np.zeros((frames, streams + 2, STREAM), kind)
    landmark = np.empty((frames, landmarks, LANDMARK), kind)
    context = np.empty((frames, first_statistic + STATISTICS), kind)
    proposal, gaze = np.empty(step.shape, kind), np.empty((frames, 3), kind)
    log_size, fused = np.empty((views, landmarks)), np.empty((3, 3))
    for f in range(frames):
        root, facts = rotations[f, 0], context[f, first_statistic:]
        shorten(step[f], joints, limits, proposal[f])
        _landmarks_frame(
            root, pelvis[f], position[f], information[f], pull[f], weight[f], confidence[f], noise, landmark[f]
        )  # fmt: skip
        _statistics_frame(confidence[f], residual[f], toward[f], distance[f], root, facts, log_size, fused)
        for i in range(streams):
            if present[i] > 0:
                j = joint[i]
                for c in range(3):
                    at = 3 + 3 * j + c
                    stream[f, i, c] = math.asinh(5 * proposal[f, at])
                    stream[f, i, 3 + c] = math.asinh(gradient[f, at] / math.sqrt(diagonal[f, at] + 10.0) / 3)
                    stream[f, i, 6 + c] = math.log1p(diagonal[f, at]) / 8
                    stream[f, i, 9 + c] = tangent[f, 3 * j - 3 + c] if j > 0 else 0.0
            survived = trusted = 0.0
            for k in range(landmarks):
                survived += pooling[i, k] * landmark[f, k, 13]
                trusted += pooling[i, k] * landmark[f, k, 12]
            stream[f, i, 12], stream[f, i, 13] = survived, trusted
            for c in range(3):
                if i > 0:
                    context[f, 3 * (i - 1) + c] = stream[f, i, 9 + c]
                context[f, 3 * (streams - 1) + 3 * i + c] = stream[f, i, c]
        stiff = (diagonal[f, 0] + diagonal[f, 1] + diagonal[f, 2]) / 3
        for c in range(3):
            move = root[0, c] * proposal[f, 0] + root[1, c] * proposal[f, 1] + root[2, c] * proposal[f, 2]
            down = root[0, c] * gradient[f, 0] + root[1, c] * gradient[f, 1] + root[2, c] * gradient[f, 2]
            stream[f, streams + 1, c] = math.asinh(5 * move)
            stream[f, streams + 1, 3 + c] = math.asinh(down / math.sqrt(stiff + 10.0) / 3)
            stream[f, streams + 1, 6 + c] = math.log1p(stiff) / 8
            gaze[f, c] = facts[18 + c]
            stream[f, streams + 1, 9 + c] = facts[18 + c]
            context[f, first_bone - 3 + c] = stream[f, streams + 1, c]
        for b in range(bones):
            context[f, first_bone + b] = (bone[f, b] - typical_bone) * present[b + 1]
            change = 0.0
            if with_shape:
                for s in range(slope.shape[2]):
                    change += slope[f, b, s] * proposal[f, last + s]
            context[f, first_bone + bones + b] = 10 * change
    return stream, landmark, context, proposal, gaze


@compiled
def observation_frames(mirror, confidence, residual, toward, gain, distance, position):
    """``features._observations``."""
    frames, views, landmarks = confidence.shape
    out = np.empty((frames, views, landmarks, OBSERVATION), residual.dtype)
    log_size, log_trust = np.empty((views, landmarks)), np.empty((views, landmarks))
    total, count = np.empty(landmarks), np.empty(landmarks)
    for f in range(frames):
        total[:] = 0
        count[:] = 0
        trust = whole = 0.0
        for v in range(views):
            for k in range(landmarks):
                c = confidence[f, v, k]
                x, y, z = residual[f, v, k, 0], residual[f, v, k, 1], residual[f, v, k, 2]
                size = math.sqrt(x * x + y * y + z * z)
                log_size[v, k] = math.log(size + 5e-4)
                log_trust[v, k] = 0.0
                out[f, v, k, 1] = math.asinh(10 * size)
                if c > 0:
                    log_trust[v, k] = math.log(max(c, 1e-2))
                    total[k] += log_size[v, k]
                    count[k] += 1
                    trust += c
                    whole += c * log_size[v, k]
        frame = whole / max(trust, 1e-6) + 4
        for v in range(views):
            weight = level = seen_here = level_trust = 0.0
            for k in range(landmarks):
                c = confidence[f, v, k]
                weight += c
                level += c * log_size[v, k]
                level_trust += log_trust[v, k]
                seen_here += c > 0
            level = level / max(weight, 1e-6) + 4
            level_trust = level_trust / max(seen_here, 1e-6)
            scale = distance[f, v]
            far = math.log(max(scale, 0.3)) - 1.2
            for k in range(landmarks):
                size, seen = log_size[v, k], 1.0 if confidence[f, v, k] > 0 else 0.0
                others = count[k] - seen
                m = mirror[k]
                squared = 0.0
                for c in range(3):
                    observed = toward[f, v, k, c] - residual[f, v, k, c] / scale
                    gap = observed - toward[f, v, m, c]
                    squared += gap * gap
                swapped = math.log(scale * math.sqrt(squared) + 5e-4)
                out[f, v, k, 0] = size + 4
                out[f, v, k, 2] = log_trust[v, k]
                out[f, v, k, 3] = confidence[f, v, k]
                out[f, v, k, 4] = math.log(gain[f, v, k])
                out[f, v, k, 5] = far
                out[f, v, k, 6] = level
                out[f, v, k, 7] = (total[k] - size * seen) / others + 4 if others > 0 else 0.0
                out[f, v, k, 8] = 1.0 if others > 0 else 0.0
                out[f, v, k, 9] = frame
                out[f, v, k, 10] = 0.0 if m == k else swapped - size
                out[f, v, k, 11] = swapped + 4
                out[f, v, k, 12] = level_trust
                out[f, v, k, 13] = math.log1p(count[k])
    return out
