# An AMI with the agent in it, and the images of one role already pulled:
#
#   packer init packaging/packer
#   packer build -var role=api -var agent_package=delphi-agent.deb -var iam_instance_profile=baker \
#     -var ecr_registry=123456789012.dkr.ecr.eu-west-1.amazonaws.com -var ecr_tag=1.4.2 \
#     -var config_bucket=delphi-config -var config_ref=v1 packaging/packer
#
# Which plugin it needs is in plugins.pkr.hcl: Packer before 1.7 has that one built in, and does not know the block.

variable "role" {
  type        = string
  description = "SERVER_ROLE of the instances: whose images are in the AMI."
}

variable "ecr_registry" {
  type        = string
  description = "ECR_REGISTRY."
}

variable "ecr_tag" {
  type        = string
  description = "ECR_TAG: which images are pulled."
}

variable "config_bucket" {
  type        = string
  description = "CONFIG_BUCKET."
}

variable "config_ref" {
  type        = string
  description = "CONFIG_REF: of which bundle the images are."
}

variable "agent_package" {
  type        = string
  description = "The agent's .deb on this machine."
}

variable "iam_instance_profile" {
  type        = string
  description = "Profile of the instance that builds: it reads the bundle and the images (doctor --iam-policy)."
}

variable "region" {
  type    = string
  default = "eu-west-1"
}

variable "instance_type" {
  type    = string
  default = "t3.small"
}

variable "source_ami_name" {
  type        = string
  default     = "debian-13-amd64-*"
  description = "Debian 13 or later: its own packages have Docker with Compose 2."
}

variable "source_ami_owner" {
  type        = string
  default     = "136693071363"
  description = "Who publishes it; by default Debian."
}

source "amazon-ebs" "agent" {
  region               = var.region
  instance_type        = var.instance_type
  iam_instance_profile = var.iam_instance_profile
  ami_name             = "delphi-${var.role}-${formatdate("YYYYMMDD-hhmmss", timestamp())}"
  encrypt_boot         = true
  ssh_username         = "admin"
  # Not the key of the build in the image.
  ssh_clear_authorized_keys = true

  # Packer 1.7 and later: only IMDSv2 while it is built, and for what is started from it.
  metadata_options {
    http_endpoint               = "enabled"
    http_tokens                 = "required"
    http_put_response_hop_limit = 1
  }
  imds_support = "v2.0"
  # Packer 1.7: end.

  source_ami_filter {
    filters = {
      name                = var.source_ami_name
      root-device-type    = "ebs"
      virtualization-type = "hvm"
    }
    owners      = [var.source_ami_owner]
    most_recent = true
  }

  tags = {
    Name       = "delphi-${var.role}"
    SourceName = "{{ .SourceAMIName }}"
  }
}

build {
  sources = ["source.amazon-ebs.agent"]

  provisioner "file" {
    source      = var.agent_package
    destination = "/tmp/delphi-agent.deb"
  }

  provisioner "shell" {
    execute_command = "sudo env {{ .Vars }} sh -eu '{{ .Path }}'"
    environment_vars = [
      "DEBIAN_FRONTEND=noninteractive",
      "SERVER_ROLE=${var.role}",
      "ECR_REGISTRY=${var.ecr_registry}",
      "ECR_TAG=${var.ecr_tag}",
      "CONFIG_BUCKET=${var.config_bucket}",
      "CONFIG_REF=${var.config_ref}",
      "AWS_REGION=${var.region}",
    ]
    inline = [
      # The source's own cloud-init may still be at work with apt.
      "cloud-init status --wait >/dev/null || true",
      "apt-get update -q",
      "apt-get install -q -y --no-install-recommends docker.io docker-cli docker-compose /tmp/delphi-agent.deb",
      "rm /tmp/delphi-agent.deb",
      "apt-get clean",
      # Enabled, not started: without a bootstrap file the unit is skipped.
      "systemctl enable delphi-agent",
      join(" ", [
        "delphi-agent bake --role \"$SERVER_ROLE\" --region \"$AWS_REGION\"",
        "--ecr-registry \"$ECR_REGISTRY\" --ecr-tag \"$ECR_TAG\"",
        "--config-bucket \"$CONFIG_BUCKET\" --config-ref \"$CONFIG_REF\"",
      ]),
    ]
  }

  # The last step: takes away what is this host's, proves it, and fails the build otherwise.
  provisioner "shell" {
    execute_command = "sudo sh -eu '{{ .Path }}'"
    inline          = ["delphi-agent clean --for-image --yes"]
  }
}
