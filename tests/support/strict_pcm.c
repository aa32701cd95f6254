/* An ALSA capture device as strict as cheap hardware, over another one: one rate and one number of channels. With
 * `taken 1` another program seems to take it as soon as it has been seen: all but a process's first opening give EBUSY.
 *   pcm_type.strict { lib "/path/strict_pcm.so" }
 *   pcm.NAME { type strict  slave "pulse"  rate 48000  channels 2  taken 0 }
 */
#include <alsa/asoundlib.h>
#include <alsa/pcm_external.h>

typedef struct {
	snd_pcm_ioplug_t io;
	snd_pcm_t *slave;
	snd_pcm_uframes_t taken;
} strict_t;

static int strict_start(snd_pcm_ioplug_t *io)
{
	return snd_pcm_start(((strict_t *)io->private_data)->slave);
}

static int strict_stop(snd_pcm_ioplug_t *io)
{
	return snd_pcm_drop(((strict_t *)io->private_data)->slave);
}

static snd_pcm_sframes_t strict_pointer(snd_pcm_ioplug_t *io)
{
	strict_t *strict = io->private_data;
	snd_pcm_sframes_t waiting = snd_pcm_avail_update(strict->slave);

	if (waiting < 0)
		return waiting;
	/* A full ring would look like an empty one. */
	if (waiting >= (snd_pcm_sframes_t)io->buffer_size)
		waiting = io->buffer_size - 1;
	return (strict->taken + waiting) % io->buffer_size;
}

static snd_pcm_sframes_t strict_transfer(snd_pcm_ioplug_t *io, const snd_pcm_channel_area_t *areas,
					 snd_pcm_uframes_t offset, snd_pcm_uframes_t size)
{
	strict_t *strict = io->private_data;
	char *to = (char *)areas->addr + (areas->first + areas->step * offset) / 8;
	snd_pcm_sframes_t got = snd_pcm_readi(strict->slave, to, size);

	if (got > 0)
		strict->taken += got;
	return got;
}

static int strict_hw_params(snd_pcm_ioplug_t *io, snd_pcm_hw_params_t *params)
{
	return snd_pcm_set_params(((strict_t *)io->private_data)->slave, io->format, SND_PCM_ACCESS_RW_INTERLEAVED,
				  io->channels, io->rate, 0, 1000000ull * io->buffer_size / io->rate);
}

static int strict_prepare(snd_pcm_ioplug_t *io)
{
	strict_t *strict = io->private_data;

	strict->taken = 0;
	return snd_pcm_prepare(strict->slave);
}

static int strict_close(snd_pcm_ioplug_t *io)
{
	strict_t *strict = io->private_data;

	snd_pcm_close(strict->slave);
	free(strict);
	return 0;
}

static int strict_poll_count(snd_pcm_ioplug_t *io)
{
	return snd_pcm_poll_descriptors_count(((strict_t *)io->private_data)->slave);
}

static int strict_poll(snd_pcm_ioplug_t *io, struct pollfd *pfds, unsigned int count)
{
	return snd_pcm_poll_descriptors(((strict_t *)io->private_data)->slave, pfds, count);
}

static int strict_revents(snd_pcm_ioplug_t *io, struct pollfd *pfds, unsigned int count, unsigned short *revents)
{
	return snd_pcm_poll_descriptors_revents(((strict_t *)io->private_data)->slave, pfds, count, revents);
}

static const snd_pcm_ioplug_callback_t CALLBACKS = {
	.start = strict_start,
	.stop = strict_stop,
	.pointer = strict_pointer,
	.transfer = strict_transfer,
	.hw_params = strict_hw_params,
	.prepare = strict_prepare,
	.close = strict_close,
	.poll_descriptors_count = strict_poll_count,
	.poll_descriptors = strict_poll,
	.poll_revents = strict_revents,
};

static int constrain(snd_pcm_ioplug_t *io, long rate, long channels)
{
	static const unsigned int access[] = {SND_PCM_ACCESS_RW_INTERLEAVED};
	static const unsigned int format[] = {SND_PCM_FORMAT_S16_LE};
	long frame_bytes = 2 * channels;
	int error;

	if ((error = snd_pcm_ioplug_set_param_list(io, SND_PCM_IOPLUG_HW_ACCESS, 1, access)) < 0 ||
	    (error = snd_pcm_ioplug_set_param_list(io, SND_PCM_IOPLUG_HW_FORMAT, 1, format)) < 0 ||
	    (error = snd_pcm_ioplug_set_param_minmax(io, SND_PCM_IOPLUG_HW_CHANNELS, channels, channels)) < 0 ||
	    (error = snd_pcm_ioplug_set_param_minmax(io, SND_PCM_IOPLUG_HW_RATE, rate, rate)) < 0 ||
	    (error = snd_pcm_ioplug_set_param_minmax(io, SND_PCM_IOPLUG_HW_PERIOD_BYTES, 64 * frame_bytes,
						     rate * frame_bytes / 4)) < 0)
		return error;
	return snd_pcm_ioplug_set_param_minmax(io, SND_PCM_IOPLUG_HW_BUFFER_BYTES, 256 * frame_bytes,
					       rate * frame_bytes);
}

SND_PCM_PLUGIN_DEFINE_FUNC(strict)
{
	snd_config_iterator_t i, next;
	static int openings;
	const char *slave = "pulse";
	long rate = 48000, channels = 1, taken = 0;
	strict_t *strict;
	int error;

	snd_config_for_each(i, next, conf) {
		snd_config_t *node = snd_config_iterator_entry(i);
		const char *id;

		if (snd_config_get_id(node, &id) < 0)
			continue;
		if (!strcmp(id, "slave"))
			snd_config_get_string(node, &slave);
		else if (!strcmp(id, "taken"))
			snd_config_get_integer(node, &taken);
		else if (!strcmp(id, "rate"))
			snd_config_get_integer(node, &rate);
		else if (!strcmp(id, "channels"))
			snd_config_get_integer(node, &channels);
	}
	if (stream != SND_PCM_STREAM_CAPTURE)
		return -EINVAL;
	if (taken && openings++)
		return -EBUSY;
	if (!(strict = calloc(1, sizeof(*strict))))
		return -ENOMEM;
	if ((error = snd_pcm_open(&strict->slave, slave, stream, mode)) < 0) {
		free(strict);
		return error;
	}
	strict->io.version = SND_PCM_IOPLUG_VERSION;
	strict->io.name = "strict capture device";
	strict->io.callback = &CALLBACKS;
	strict->io.private_data = strict;
	if ((error = snd_pcm_ioplug_create(&strict->io, name, stream, mode)) < 0) {
		snd_pcm_close(strict->slave);
		free(strict);
		return error;
	}
	if ((error = constrain(&strict->io, rate, channels)) < 0) {
		snd_pcm_ioplug_delete(&strict->io);
		return error;
	}
	*pcmp = strict->io.pcm;
	return 0;
}

SND_PCM_PLUGIN_SYMBOL(strict);
