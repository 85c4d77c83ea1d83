output "autoscaling_group_name" {
  description = "The group."
  value       = aws_autoscaling_group.this.name
}

output "instance_role_name" {
  description = "The instances' role, for further policies: SSM, logs."
  value       = aws_iam_role.this.name
}
